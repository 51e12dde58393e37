# SPDX-License-Identifier: Apache-2.0
"""The command line: ``adaqat`` with its sub-commands, and ``adaqat-deploy``.

Results go to stdout, messages to stderr. Exit codes: 0 all equal, 1 a mismatch or a missed budget,
2 wrong usage, 3 an unsupported model. Heavy imports stay inside commands: ``--help`` is quick.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..hw_models.errors import HwModelError
from .cli_export import export
from .cli_measure import measure
from .cli_options import AsJson, BoardName, Model, OutputScale, TargetName
from .errors import AdaqatError, UsageError
from .executors import Verify, executors
from .setting import Setting

HELP = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="adaqat",
    help="Train a PyTorch network with a learned bit-width per layer and put it on a device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings=HELP,
)
deploy_app = typer.Typer(
    name="adaqat-deploy",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings=HELP,
)


@app.command()
@deploy_app.command()
def deploy(
    *,
    model: Model = None,
    target: TargetName,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="A new, empty or earlier output folder."),
    ],
    name: Annotated[str, typer.Option(help="Prefix of every symbol and file.")] = "net",
    optimise: Annotated[
        Setting,
        typer.Option(
            help="What the code is made for: speed; size: functions shared by all layers of a kind;"
            " ram: no scratch memory, and results over the inputs they replace."
        ),
    ] = Setting.speed,
    verify: Annotated[
        list[Verify] | None,
        typer.Option(
            help="Where to run the emitted network against the simulator; may be repeated. 'auto':"
            " on the host, and on the emulated core where the target has one and the emulator is"
            " installed.",
            show_default="auto",
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Generated inputs to verify with: extremes, then random.")
    ] = 32,
    inputs: Annotated[
        Path | None,
        typer.Option(
            help="More inputs to verify with: an .npy array [N, ...] of floats in the source"
            " model's layout, or of integer codes, channels last.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random inputs.")] = 0,
    board: BoardName = None,
    rounding: Annotated[
        str,
        typer.Option(
            help="Of a .tflite model: 'tflite' keeps its integers, 'native' uses the faster rule"
            " of this project and reports the differences."
        ),
    ] = "tflite",
    output_scale: OutputScale = None,
    goal: Annotated[
        list[str] | None,
        typer.Option(
            help="Speed and size of a circuit (FPGA targets), for example interval=5000; may be"
            " repeated: interval, frames_per_second, latency, lut, bram, clock_mhz."
        ),
    ] = None,
    reloadable_weights: Annotated[
        bool,
        typer.Option(
            "--reloadable-weights",
            help="Weights of a circuit's layers can be written over AXI4-Lite (FPGA targets).",
        ),
    ] = False,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="How circuits compute layers with weights: 'folded' (weights in a memory),"
            " 'unrolled' (weights as shared adders) or 'auto' (by predicted LUTs), for all layers"
            " or one, as in conv1=unrolled; may be repeated.",
            show_default="auto",
        ),
    ] = None,
    synth: Annotated[
        bool, typer.Option("--synth", help="Count cells with yosys (FPGA targets, minutes).")
    ] = False,
    pnr: Annotated[
        bool,
        typer.Option("--pnr", help="Place and route, three seeds (ECP5, iCE40, Gowin; minutes)."),
    ] = False,
    power_w: Annotated[
        float | None,
        typer.Option(
            help="Watts that were measured on an FPGA while it computes: joules per frame are"
            " reported then.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Emit a trained network for a device and prove every integer of every node equal."""
    from ..hw_models import load as load_table
    from . import targets

    chosen = targets.get(target)
    wanted = executors(verify or [Verify.auto], chosen.core, chosen.family)
    from .artefact import build, check_destination
    from .console import print_report, progress
    from .imported import second_opinion
    from .model_source import open_model, verification_inputs
    from .passes import clean
    from .report import Report, model_report
    from .rtl.options import (
        add_energy,
        add_figures,
        check_power,
        check_synthesis,
        circuit_goals,
    )
    from .verification import verify as run

    goals = circuit_goals(chosen, name, goal or [], engine, board, reloadable_weights)
    check_synthesis(chosen, synth, pnr, board)
    check_power(chosen, power_w)
    if goals is not None:
        board = None  # no cost table has it
    check_destination(out)
    graph = open_model(model, rounding, output_scale)
    fast = chosen.table if chosen.family == "c" and optimise is Setting.speed else None
    graph = clean(graph, load_table(fast, board) if fast else None)
    report: Report | None = None
    if wanted:
        codes = verification_inputs(graph, model, samples, seed, inputs)
        for executor in wanted:
            with progress(f"verifying on {executor}") as advance:
                found = run(
                    graph, chosen.name, codes, executor=executor, name=name, optimise=optimise,
                    progress=advance, board=board, goals=goals,
                )  # fmt: skip
            report = found if report is None else found.joined(report)
    artefact = build(graph, chosen.name, out, name=name, optimise=optimise, goals=goals)
    report = report or model_report(artefact.model, board)
    if wanted and model is not None:
        second_opinion(report, model, graph, codes, rounding)
    if synth or pnr:
        add_figures(report, artefact.model, pnr, out)
    add_energy(report, power_w)
    path = report.write(out)
    if as_json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        print_report(report, path)
    if report.mismatches:
        raise typer.Exit(1)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def train(context: typer.Context) -> None:
    """Train with learned bit-widths (same as adaqat-train)."""
    _training("train", "cli", context)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def sweep(context: typer.Context) -> None:
    """Train a recipe under many budgets: a front of accuracy and cost; resumable."""
    _training("sweep", "sweep_cli", context)


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def plot(context: typer.Context) -> None:
    """Draw the widths of a run, or accuracy against cost of several runs."""
    _training("plot", "plot_cli", context)


def _training(command: str, module: str, context: typer.Context) -> None:
    """Hand over to a command of the training side."""
    from importlib import import_module
    from importlib.util import find_spec

    if find_spec("torch") is None and not {"-h", "--help"} & set(context.args):
        raise UsageError(
            f"{command}: PyTorch is not installed; training needs it, deployment does not; run 'pip"
            " install adaqat-deploy[train]'"
        )
    sys.argv = [f"adaqat {command}", *context.args]
    import_module(f"..train.{module}", __package__).main()


@app.command()
def inspect(
    model: Model = None,
    dump: Annotated[bool, typer.Option("--dump", help="The graph as stable text.")] = False,
    output_scale: OutputScale = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model holds: nodes, shapes, bit-widths; of a training run, why they are so."""
    from .model_source import open_model, run_reasons

    graph = open_model(model, output_scale=output_scale)
    if dump:
        print(graph.dump(), end="")
        return
    from .console import graph_rows, print_graph

    if as_json:
        rows = {"id": graph.model_id, "nodes": graph_rows(graph), "why": run_reasons(model)}
        print(json.dumps(rows, indent=2))
    else:
        print_graph(graph)
        for row in run_reasons(model):
            print(f"{row['name']}: {row['why']}")


@app.command()
def targets(as_json: AsJson = False) -> None:
    """List the devices that can be given to --target."""
    from .console import print_targets, target_rows

    if as_json:
        print(json.dumps(target_rows(), indent=2))
    else:
        print_targets()


@app.command()
def compare(
    model: Model = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="May be repeated; without it, every measured device."),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help="For example latency_ms=30; may be repeated: latency_ms, energy_uj, flash_kb,"
            " ram_kb. A missed budget gives exit code 1."
        ),
    ] = None,
    board: BoardName = None,
    output_scale: OutputScale = None,
    as_json: AsJson = False,
) -> None:
    """Predict a model's cost on several devices, from their cost tables, against budgets."""
    from .budget import parse_budgets
    from .console import print_comparison
    from .model_source import open_model
    from .prediction import predictions

    limits = parse_budgets(budget or [])
    if board is not None and len(target or []) != 1:
        raise UsageError(
            f"--board {board}: {len(target or [])} targets given; a board has one core; give one"
            f" --target"
        )
    rows = predictions(open_model(model, output_scale=output_scale), target or [], limits, board)
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print_comparison(rows, limits)
    if any(row["over"] for row in rows):
        raise typer.Exit(1)


app.command()(export)
app.command()(measure)


def main() -> None:
    """Entry point of ``adaqat``."""
    _run(app)


def deploy_main() -> None:
    """Entry point of ``adaqat-deploy``."""
    _run(deploy_app)


def _run(command: typer.Typer) -> None:
    """Run a command line; expected errors become one message, others keep their traceback."""
    try:
        command()
    except (AdaqatError, HwModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
