# SPDX-License-Identifier: Apache-2.0
"""Limits on a network's cost, as the command line takes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .errors import UsageError

METRICS = ("cycles", "instructions", "latency_ms", "energy_uj", "flash_kb", "ram_kb")
"""What can be limited; a kilobyte is 1024 bytes."""


def parse_budgets(texts: Sequence[str]) -> dict[str, float]:
    """Limits by metric from texts such as ``latency_ms=30``.

    Raises:
        UsageError: another shape, an unknown metric, a limit that is not positive, or a repetition.
    """
    limits: dict[str, float] = {}
    for text in texts:
        metric, separator, number = text.partition("=")
        if not separator or metric not in METRICS:
            raise UsageError(
                f"--budget: {text!r}; METRIC=NUMBER with {', '.join(METRICS)} is supported; write"
                " for example --budget latency_ms=30"
            )
        try:
            limit = float(number)
        except ValueError:
            limit = math.nan
        if not (math.isfinite(limit) and limit > 0):
            raise UsageError(
                f"--budget: {text!r}; a positive number is needed; write for example"
                f" --budget {metric}=30"
            )
        if metric in limits:
            raise UsageError(f"--budget: {metric} given twice; one limit each; remove one of them")
        limits[metric] = limit
    return limits
