# SPDX-License-Identifier: Apache-2.0
"""ResNets on CIFAR-10: AdaQAT against uniform widths and a knapsack at the same measured cost.

    python benchmarks/cifar10.py --data-root FOLDER -o runs [--only NAME,NAME] [--seeds 0,1,2]
    python benchmarks/cifar10.py -o runs --report [--plot FILE.svg]
    python benchmarks/cifar10.py --grid benchmarks/resnet20.toml --data-root FOLDER -o runs20

Runs stand in cifar10.toml (ResNet-8) or in another grid. All begin with one float network per seed
(with ``--float``, one for all seeds), so they differ in nothing but widths; a run with ``scratch``
begins with nothing. Every run goes on where a killed one stopped;
several workers may share the folder: each run is taken by one of them. ``--report`` prints the
table of all finished runs.
"""

from __future__ import annotations

import argparse
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

GRID = Path(__file__).with_suffix(".toml")


def recipes(seed: int, file: Path = GRID) -> dict[str, dict[str, Any]]:
    """Name -> values of a recipe; the trainings of the float network come first."""
    grid = tomllib.loads(file.read_text(encoding="utf-8"))
    base = merged(grid["base"], {"seed": seed})
    short = {"train": {"epochs": 1, "lr": 1e-4, "distill": 0.0, "exact_epochs": 0}}
    found = {"float": merged(base, short)}
    if "again" in grid:
        found["float_again"] = merged(found["float"], {"float": grid["again"]})
    if "restored" in grid:
        found["float_restored"] = merged(found["float"], {"float": grid["restored"]})
    compared = merged(base, grid["compare"]["base"])
    runs = {name: merged(base, changes) for name, changes in grid["run"].items()}
    for budget, limits in grid["compare"]["budgets"].items():
        for method in grid["compare"]["methods"]:
            search = {"search": {"method": method, "budget": limits}}
            runs[f"{method}_{budget}"] = merged(compared, search)
    for name, values in runs.items():
        if values["search"].get("budget"):
            del values["search"]["strength"]
        found[name] = values
    return found


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the leaves of ``changes`` put in."""
    found = {k: merged(v, {}) if isinstance(v, Mapping) else v for k, v in base.items()}
    for key, value in changes.items():
        old = found.get(key, {})
        found[key] = merged(old, value) if isinstance(value, Mapping) else value
    return found


def run(
    name: str, values: dict[str, Any], folder: Path, data_root: Path, network: str = "resnet8"
) -> None:
    """Train one recipe and save its integer model, unless another worker holds or did it."""
    from adaqat.deploy.frontends.torch import lower
    from adaqat.deploy.model_file import save
    from adaqat.train import Recipe, fit

    if (folder / "model.adaqat").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / "worker"
    if lock.exists() and Path(f"/proc/{lock.read_text()}").exists():
        return
    lock.write_text(str(os.getpid()))
    begun = any(folder.glob("*.safetensors"))
    result = fit(
        Recipe.parse({"name": f"{network}_{name}", **values}),
        folder,
        data_root=data_root,
        resume=begun,
        listener=lambda event: print(name, _line(event), flush=True),
    )
    graph = lower(result.module, result.example, name=f"{network}_{name}")
    save(graph, folder / "model.adaqat")
    lock.unlink()


def _line(event: Mapping[str, Any]) -> str:
    shown = {k: v for k, v in event.items() if k not in ("widths", "probes", "strength")}
    return json.dumps(shown)


def report(out: Path) -> None:
    """A Markdown table of the finished runs, by predicted latency."""
    rows = []
    for path in sorted(out.glob("*/*/result.json")):
        figures = json.loads(path.read_text(encoding="utf-8"))
        bits = {g["name"]: g["bits"] for g in figures["widths"]}
        weights = " ".join(str(b) for n, b in bits.items() if n.startswith("w:"))
        acts = " ".join(str(b) for n, b in bits.items() if n.startswith("a:"))
        cost, right = figures["predicted"], figures["accuracy"]
        rows.append(
            (
                cost.get("latency_ms", 0.0),
                f"| {path.parent.name} | {path.parent.parent.name.removeprefix('seed_')} "
                f"| {right['integer']:.2f} | {figures['cross_entropy']['integer']:.4f} "
                f"| {right['validation']:.2f} | {_number(cost, 'latency_ms', 1)} "
                f"| {_number(cost, 'instructions', 2, 1e-6)} | {_number(cost, 'flash_kb', 1)} "
                f"| {_number(cost, 'gbitops', 3)} "
                f"| {figures['weight_bits']['mean_per_weight']:.2f} | {weights} | {acts} |",
            )
        )
    print(
        "| run | seed | test % | test CE | val. % | ms | M instr. | KiB | GBitOPs | bits/weight "
        "| w | a |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    print("\n".join(text for _, text in sorted(rows)))


def _number(cost: Mapping[str, float], metric: str, digits: int, unit: float = 1.0) -> str:
    """A cost, or a dash where the run's target does not price it."""
    return f"{cost[metric] * unit:.{digits}f}" if metric in cost else "-"


def plot(out: Path, file: Path) -> None:
    """Cross-entropy on the test images over predicted latency, a mark per run."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    points: dict[str, list[tuple[float, float]]] = {}
    for path in sorted(out.glob("*/*/result.json")):
        figures = json.loads(path.read_text(encoding="utf-8"))
        method = path.parent.name.split("_")[0]
        place = figures["predicted"]["latency_ms"], figures["cross_entropy"]["integer"]
        points.setdefault(method, []).append(place)
    figure, axes = pyplot.subplots(figsize=(6, 4))
    for (method, places), mark in zip(sorted(points.items()), "osv^Dx*", strict=False):
        axes.plot(*zip(*places, strict=True), mark, label=method, alpha=0.7)
    axes.set_xlabel("predicted latency on Cortex-M4, ms")
    axes.set_ylabel("test cross-entropy of the integers, nats")
    axes.legend()
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", type=Path, default=os.environ.get("ADAQAT_DATA"))
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--grid", type=Path, default=GRID, help="TOML file of the runs")
    parser.add_argument("--only", default="", help="names of runs, with commas")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--float", type=Path, help="seed 0's float network, for every seed")
    parser.add_argument("--restored", type=Path, help="dequantised.py's network, trained on first")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--plot", type=Path, help="with --report: an SVG of all finished runs")
    options = parser.parse_args()
    if options.report:
        report(options.out)
        if options.plot is not None:
            plot(options.out, options.plot)
        return
    if options.data_root is None:
        parser.error("--data-root or ADAQAT_DATA: the folder that holds CIFAR-10 is needed")
    network = tomllib.loads(options.grid.read_text(encoding="utf-8")).get("name", "resnet8")
    wanted = [name for name in options.only.split(",") if name]
    shared = options.float
    if options.restored is not None:
        values = recipes(0, options.grid)["float_restored"]
        values = merged(values, {"float": {"start": str(options.restored)}})
        run("float_restored", values, options.out / "float_restored", options.data_root, network)
        shared = options.out / "float_restored" / "float.safetensors"
    for seed in (int(s) for s in options.seeds.split(",")):
        folder = options.out / f"seed_{seed}"
        known = recipes(seed, options.grid)
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            parser.error(f"--only: {', '.join(unknown)} found; known are {', '.join(known)}")
        first, again = known.pop("float"), known.pop("float_again", None)
        known.pop("float_restored", None)
        start = shared
        if start is None:
            run("float", first, folder / "float", options.data_root, network)
            start = folder / "float" / "float.safetensors"
        if shared is None and again is not None:
            again = merged(again, {"float": {"start": str(start)}})
            run("float_again", again, folder / "float_again", options.data_root, network)
            start = folder / "float_again" / "float.safetensors"
        for name in wanted or known:
            begin: dict[str, Any] = {"epochs": 0}
            if not known[name].pop("scratch", False):
                begin["start"] = str(start)
            values = merged(known[name], {"float": begin})
            if shared is not None:
                values["data"]["split"] = 0
            run(name, values, folder / name, options.data_root, network)


if __name__ == "__main__":
    main()
