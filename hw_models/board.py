# SPDX-License-Identifier: Apache-2.0
"""Boards: clock, flash and energy, which turn a core's cycles into time and energy."""

from pydantic import Field

from .core_timing import Validation
from .files import Record, available, load_record
from .memory import Flash
from .table import Energy


class Board(Record):
    """One board.

    Attributes:
        core: name of its core.
        title: board and chip.
        clock_mhz: at which its figures hold.
        clock_source: where the clock is from.
        default: whether tables of the core quote its clock and energy.
        flash: its program memory, None where no figures were found.
        energy: of one core cycle.
        validation: published times of this board against the models.
    """

    core: str
    title: str
    clock_mhz: float = Field(gt=0)
    clock_source: str
    default: bool = False
    flash: Flash | None = None
    energy: Energy
    validation: tuple[Validation, ...] = ()


def board_names() -> tuple[str, ...]:
    """Every board, sorted."""
    return available("boards")


def load_board(name: str) -> Board:
    """The board called ``name``; raises `HwModelError` listing the known ones."""
    board: Board = load_record("boards", name, Board)[0]
    return board


def boards_of(core: str) -> tuple[str, ...]:
    """Boards with this core, sorted."""
    return tuple(name for name in board_names() if load_board(name).core == core)


def default_board(core: str) -> Board | None:
    """The board whose clock and energy the core's tables quote, None without one."""
    found = (load_board(name) for name in boards_of(core))
    return next((board for board in found if board.default), None)
