# SPDX-License-Identifier: Apache-2.0
"""FPGA boards: clock, serial line and pins that a project needs to run on a desk."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .files import Record, available, load_record


class Pin(Record):
    """One pin of the device.

    site: its name in constraint files.
    settings: what else the constraint file says of it, in the format's own words.
    active_low: whether 0 means pressed or lit.
    """

    site: str
    settings: str = ""
    active_low: bool = False


class FpgaBoard(Record):
    """One board.

    target: the family, as given to ``--target``.
    device: the device on it; router_flags: what place and route wants to know of it.
    luts: what the device holds, for the message when a circuit does not fit.
    constraints: format of its constraint file.
    clock_mhz: oscillator on the board, the clock of the circuit.
    baud: speed of the serial line to the host.
    pins: clk, rx, tx, reset (a button), lost (a light: bytes were lost).
    high: pins that must be held at 1.
    program: command that loads a bitstream, with {bitstream} for the file.
    sources: where the pins and the clock are published.
    """

    title: str
    target: str
    device: str
    router_flags: str
    luts: int = Field(gt=0)
    constraints: Literal["pcf", "lpf", "cst"]
    clock_mhz: float = Field(gt=0)
    baud: int = Field(gt=0)
    pins: dict[Literal["clk", "rx", "tx", "reset", "lost"], Pin]
    high: tuple[Pin, ...] = ()
    program: str
    sources: tuple[str, ...] = Field(min_length=1)

    @property
    def divide(self) -> int:
        """Clock cycles of one bit of the serial line."""
        return round(self.clock_mhz * 1e6 / self.baud)


def fpga_board_names() -> tuple[str, ...]:
    """Every board, sorted."""
    return available("fpga_boards")


def load_fpga_board(name: str) -> FpgaBoard:
    """The board called ``name``; raises `HwModelError` listing the known ones."""
    board: FpgaBoard = load_record("fpga_boards", name, FpgaBoard)[0]
    return board


def fpga_boards_of(target: str) -> tuple[str, ...]:
    """Boards of this family, sorted."""
    return tuple(name for name in fpga_board_names() if load_fpga_board(name).target == target)
