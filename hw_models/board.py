# SPDX-License-Identifier: Apache-2.0
"""Boards: the clock and the energy figure that turn cycles into time and energy."""

from pydantic import Field

from .files import Record, load_record
from .table import Energy


class Board(Record):
    """The board a target's figures are quoted for, one per core."""

    core: str
    title: str
    clock_mhz: float = Field(gt=0)
    energy: Energy


def load_board(core: str) -> Board:
    """The board of a core; raises `HwModelError` listing the cores that have one."""
    board: Board = load_record("boards", core, Board)[0]
    return board
