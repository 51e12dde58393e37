# SPDX-License-Identifier: Apache-2.0
"""A circuit on a board: the serial line around it, pins, bench, and what place and route needs."""

from __future__ import annotations

from ...hw_models import Fabric, FpgaBoard, load_fabric, load_fpga_board
from ...hw_models.fpga_board import Pin
from ..errors import UsageError
from ..targets import Target
from .circuit import Circuit
from .emit import facts, padded_width
from .plan import Port
from .reload import bus_facts
from .synthesis import reading, synthesis_commands
from .words import print_template

BENCH_DIVIDE = 8
"""Clock cycles of a bit in the bench: fewer than on the board, so that it ends sooner."""
BENCH_FRAMES = 2


def check_circuit_board(target: Target, name: str) -> FpgaBoard:
    """The board, when it holds this family.

    Raises:
        UsageError: a board with another family.
        HwModelError: an unknown board.
    """
    board = load_fpga_board(name)
    if board.target != target.name:
        raise UsageError(
            f"--board {name}: holds a device of {board.target}, the target is {target.name}; give"
            f" --target {board.target}, or a board of this family ('adaqat targets' lists them)"
        )
    return board


def board_of(circuit: Circuit) -> FpgaBoard | None:
    """The board that a circuit is emitted for."""
    return load_fpga_board(circuit.goals.board) if circuit.goals.board else None


def for_board(fabric: Fabric, board: FpgaBoard, name: str) -> Fabric:
    """The family with the board's device and pins."""
    flag = {"pcf": "--pcf ", "lpf": "--lpf ", "cst": "--vopt cst="}[board.constraints]
    flags = f"{board.router_flags} {flag}{pins_name(board, name)}"
    return fabric.model_copy(
        update={"device": board.device, "router_flags": flags, "luts": board.luts}
    )


def pins_name(board: FpgaBoard, name: str) -> str:
    """File name of the constraints."""
    return f"{name}_board.{board.constraints}"


def board_sources(circuit: Circuit, board: FpgaBoard) -> dict[str, str]:
    """The serial line's Verilog and the pins, by file name."""
    name = circuit.design.name
    return {
        f"{name}_board.v": print_template(
            "verilog/board/top.v.j2", name=name, board=board, design=facts(circuit.design),
            depth=max(2, circuit.design.input.beats), reload=bus_facts(circuit.design),
        ),
        pins_name(board, name): print_template(
            "verilog/board/pins.j2", board=board, ports=_ports(board)
        ),
    }  # fmt: skip


def board_texts(
    circuit: Circuit, board: FpgaBoard, beats: list[int], results: list[int], patience: int
) -> dict[str, str]:
    """All files of the board by name; ``Makefile`` and ``README.md`` are to be appended.

    Args:
        circuit: what is on it.
        board: the board.
        beats: input beats of at least `BENCH_FRAMES` frames.
        results: output beats of the same frames.
        patience: cycles without a result after which the bench gives up.
    """
    design, name = circuit.design, circuit.design.name
    fabric = for_board(load_fabric(design.target.name), board, name)
    sent = _bytes(beats[: BENCH_FRAMES * design.input.beats], design.input)
    expected = _bytes(results[: BENCH_FRAMES * design.output.beats], design.output)
    top = f"{name}_board"
    bitstream = f"{top}.{fabric.bitstream}"
    placed = f"{top}.txt"
    stated = {
        "name": name, "board": board, "bitstream": bitstream, "pins": pins_name(board, name),
        "divide": BENCH_DIVIDE, "frames": BENCH_FRAMES, "in_bytes": len(sent) // BENCH_FRAMES,
        "out_bytes": len(expected) // BENCH_FRAMES, "patience": patience + 400 * BENCH_DIVIDE,
        "in_each": padded_width(design.input) // 8, "out_each": padded_width(design.output) // 8,
        "router": fabric.router, "router_flags": fabric.router_flags,
        "router_output": fabric.router_output, "packer": fabric.packer,
        "packing": fabric.packer_flags.format(placed=placed, bitstream=bitstream),
        "program": board.program.format(bitstream=bitstream),
    }  # fmt: skip
    return {
        **board_sources(circuit, board),
        f"{name}_board_tb.v": print_template("verilog/board/bench.v.j2", **stated),
        f"{name}_board_input.hex": _hex(sent),
        f"{name}_board_expected.hex": _hex(expected),
        f"{top}.ys": print_template(
            "verilog/project/synth.ys.j2", top=top, design=facts(design), device=fabric.device,
            commands=[
                reading(design, fabric, f"{name}.v {top}.v"),
                *synthesis_commands(design, fabric, top),
            ],
        ),
        "Makefile": print_template("verilog/board/Makefile.j2", **stated),
        "README.md": print_template("verilog/board/README.md.j2", **stated),
    }


def _ports(board: FpgaBoard) -> list[tuple[str, Pin]]:
    """Ports of the board's top module with their pins."""
    held = ((f"high{i}", pin) for i, pin in enumerate(board.high))
    return [*board.pins.items(), *held]


def _bytes(beats: list[int], port: Port) -> bytes:
    return b"".join(beat.to_bytes(padded_width(port) // 8, "little") for beat in beats)


def _hex(data: bytes) -> str:
    return "".join(f"{value:02x}\n" for value in data)

