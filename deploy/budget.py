# SPDX-License-Identifier: Apache-2.0
"""Limits on a network's cost, as the command line takes them."""

from __future__ import annotations

from collections.abc import Sequence

from .limits import parse_limits

METRICS = ("cycles", "instructions", "latency_ms", "energy_uj", "flash_kb", "ram_kb")
"""What can be limited; a kilobyte is 1024 bytes."""
LEARNED = ("gbitops", "lut", "bram", "dsp", "frames_per_second")
"""What can be limited besides when widths are learned: products of bits, and parts of circuits."""


def parse_budgets(texts: Sequence[str], *, training: bool = False) -> dict[str, float]:
    """Limits by metric from texts such as ``latency_ms=30``; in training also `LEARNED` ones.

    Raises:
        UsageError: another shape, an unknown metric, a limit that is not positive, or a repetition.
    """
    known = METRICS + LEARNED if training else METRICS
    return parse_limits("--budget", texts, known, "latency_ms=30")
