# SPDX-License-Identifier: Apache-2.0
"""The emitted folder of a circuit: RTL, memories, bench with vectors, scripts, README."""

from __future__ import annotations

from ...hw_models import load_fabric
from ..simulate import simulate
from ..vectors import make_inputs
from .board import board_of, board_texts
from .circuit import Circuit
from .emit import beats_of, facts, padded_width
from .lane_sums import cell_map
from .plan import Port
from .reload import bus_facts
from .reload_project import reload_texts
from .schedule import key, schedule
from .simulation import sources
from .synthesis import reading, synthesis_commands
from .words import print_template

FRAMES = 3
"""Frames of the bench."""


def project(circuit: Circuit) -> dict[str, str]:
    """Texts of all files by name; the same circuit gives the same bytes."""
    design, name = circuit.design, circuit.design.name
    graph = design.graph
    fabric = load_fabric(design.target.name)
    codes = make_inputs(graph, samples=FRAMES, seed=1, extremes=False)
    expected = simulate(graph, codes)
    timed = schedule(design, FRAMES)
    assert timed is not None
    stated = facts(design)
    for row, module in zip(stated["modules"], design.modules, strict=True):
        row["cycles"] = circuit.schedule.busy[module.node.name]
    texts = sources(design)
    texts[f"{name}_litex.py"] = print_template(
        "verilog/project/litex.py.j2", name=name, design=stated, files=sorted(texts),
        title=name.title().replace("_", ""), reload=bus_facts(design),
        depth=max(2, design.input.beats),
    )  # fmt: skip
    texts[f"{name}_input.hex"] = _vectors(beats_of(codes, design.input), design.input)
    texts[f"{name}_expected.hex"] = _vectors(beats_of(expected, design.output), design.output)
    texts[f"{name}_tb.v"] = print_template(
        "verilog/project/bench.v.j2", name=name, design=stated, frames=FRAMES,
        in_beats=FRAMES * design.input.beats, out_beats=FRAMES * design.output.beats,
        patience=10 * timed.ends[0] + 10_000, last_end=timed.ends[-1], reload=bus_facts(design),
    )  # fmt: skip
    cells = cell_map(design, fabric)
    texts |= cells
    texts[f"{name}.ys"] = print_template(
        "verilog/project/synth.ys.j2", top=name, design=stated, device=fabric.device,
        commands=[reading(design, fabric, f"{name}.v"), *synthesis_commands(design, fabric)],
    )  # fmt: skip
    texts["Makefile"] = print_template("verilog/project/Makefile.j2", name=name)
    queues = [
        {"source": key(edge)[0], "target": key(edge)[1], "depth": edge.queue, "width": edge.beat}
        for edge in design.edges
        if edge.queue
    ]
    texts["README.md"] = print_template(
        "verilog/project/README.md.j2", name=name, design=stated, queues=queues,
        latency=circuit.schedule.latency, interval=circuit.schedule.interval,
        modules=stated["modules"], cells=sorted(cells),
    )  # fmt: skip
    if circuit.goals.reload:
        made = reload_texts(
            circuit, codes, lambda out: _vectors(beats_of(out, design.output), design.output),
            10 * timed.ends[0] + 10_000,
        )  # fmt: skip
        for file_name, text in made.items():
            texts[file_name] = texts.get(file_name, "") + text
    board = board_of(circuit)
    if board is not None:
        made = board_texts(
            circuit, board, beats_of(codes, design.input), beats_of(expected, design.output),
            10 * timed.ends[0] + 10_000,
        )  # fmt: skip
        for file_name, text in made.items():
            texts[file_name] = texts.get(file_name, "") + text
    return texts


def _vectors(beats: list[int], port: Port) -> str:
    digits = padded_width(port) // 4
    return "".join(f"{beat:0{digits}x}\n" for beat in beats)
