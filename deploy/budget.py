# SPDX-License-Identifier: Apache-2.0
"""Limits on a network's cost, as the command line takes them."""

from __future__ import annotations

from collections.abc import Sequence

from .limits import parse_limits

METRICS = ("cycles", "instructions", "latency_ms", "energy_uj", "flash_kb", "ram_kb")
"""What can be limited; a kilobyte is 1024 bytes."""


def parse_budgets(texts: Sequence[str]) -> dict[str, float]:
    """Limits by metric from texts such as ``latency_ms=30``.

    Raises:
        UsageError: another shape, an unknown metric, a limit that is not positive, or a repetition.
    """
    return parse_limits("--budget", texts, METRICS, "latency_ms=30")
