# SPDX-License-Identifier: Apache-2.0
"""How fast and how large a circuit may be, as the command line takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Any

from ...hw_models import load_fabric, load_fpga_board
from ..errors import UsageError
from ..limits import parse_limits
from ..targets import Target
from .engines import Engines, parse_engines

USUAL_RATE = 1000.0
"""Frames per second that are aimed at when nothing is asked for."""
METRICS = ("interval", "frames_per_second", "latency", "lut", "bram", "clock_mhz")


@dataclass(frozen=True)
class Goals:
    """Limits of a circuit; None where there is none.

    Attributes:
        clock_mhz: clock that turns cycles into time.
        interval: most cycles between frames.
        latency: most cycles of one frame.
        lut: most LUTs (logic cells), of which the family's `kept_back` stays free.
        bram: most block memories, predicted.
        board: the board to emit for, whose oscillator is the clock.
        reload: whether another network's weights can be written into folded layers.
        engines: which engines layers may have (`adaqat.deploy.rtl.engines`).
    """

    clock_mhz: float
    interval: int | None = None
    latency: int | None = None
    lut: int | None = None
    bram: int | None = None
    board: str | None = None
    reload: bool = False
    engines: Engines = ()

    @classmethod
    def of(cls, target: Target) -> Goals:
        """The usual goals: `USUAL_RATE` at the family's clock, as small as possible."""
        fabric = load_fabric(target.name)
        interval = floor(fabric.clock_mhz * 1e6 / USUAL_RATE)
        return cls(fabric.clock_mhz, interval)

    @classmethod
    def parse(
        cls,
        texts: Sequence[str],
        target: Target,
        engines: Sequence[str] = (),
        board: str | None = None,
    ) -> Goals:
        """Goals from texts such as ``interval=5000``; the rest are the usual ones.

        ``engines`` are texts such as ``folded`` or ``conv1=unrolled``. A board's clock is that of
        its oscillator. A goal of time replaces the usual rate; a size without a goal of time asks
        for the fastest circuit of that size.

        Raises:
            UsageError: another shape, an unknown goal, a number that is not positive, a repetition.
        """
        given = parse_limits("--goal", texts, METRICS, "interval=5000")
        goals = replace(cls.of(target), engines=parse_engines(engines))
        if board is not None:
            if "clock_mhz" in given:
                raise UsageError(
                    f"--goal clock_mhz: the board {board} has its own clock; a clock without"
                    " --board is supported; leave one of them out"
                )
            given["clock_mhz"] = load_fpga_board(board).clock_mhz
        if "clock_mhz" in given:
            goals = replace(goals, clock_mhz=given["clock_mhz"], board=board)
            goals = replace(goals, interval=floor(given["clock_mhz"] * 1e6 / USUAL_RATE))
        if {"lut", "bram", "latency"} & set(given):
            goals = replace(goals, interval=None)
        if "frames_per_second" in given:
            rate = given["frames_per_second"]
            goals = replace(goals, interval=max(1, floor(goals.clock_mhz * 1e6 / rate)))
        whole: dict[str, Any] = {
            name: floor(given[name])
            for name in ("interval", "latency", "lut", "bram") if name in given
        }  # fmt: skip
        if goals.lut is None and "lut" in given and not load_fabric(target.name).measured:
            raise UsageError(
                f"--goal lut: no measured LUT prices for {target.name}; the other goals are"
                f" supported there; run python benchmarks/fabrics.py {target.name} first"
            )
        return replace(goals, **whole)
