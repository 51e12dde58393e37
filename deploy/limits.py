# SPDX-License-Identifier: Apache-2.0
"""Named positive numbers of the command line, as in ``--budget latency_ms=30``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .errors import UsageError


def parse_limits(
    option: str, texts: Sequence[str], names: Sequence[str], example: str
) -> dict[str, float]:
    """Numbers by name.

    Args:
        option: the option they came from, for messages.
        texts: ``NAME=NUMBER`` each.
        names: those supported.
        example: a text that works.

    Raises:
        UsageError: another shape, an unknown name, a number that is not positive, a repetition.
    """
    limits: dict[str, float] = {}
    for text in texts:
        name, separator, number = text.partition("=")
        if not separator or name not in names:
            raise UsageError(
                f"{option}: {text!r}; NAME=NUMBER with {', '.join(names)} is supported; write"
                f" for example {option} {example}"
            )
        try:
            limit = float(number)
        except ValueError:
            limit = math.nan
        if not (math.isfinite(limit) and limit > 0):
            raise UsageError(
                f"{option}: {text!r}; a positive number is needed; write for example"
                f" {option} {name}={example.partition('=')[2]}"
            )
        if name in limits:
            raise UsageError(f"{option}: {name} given twice; one limit each; remove one of them")
        limits[name] = limit
    return limits
