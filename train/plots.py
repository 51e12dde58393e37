# SPDX-License-Identifier: Apache-2.0
"""Pictures of a run folder: widths over time, and accuracy against cost over several runs.

Needs the extra ``report`` (matplotlib).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..deploy.errors import UsageError

FORMATS = ("png", "svg")


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "plot: matplotlib is not installed; it draws; install adaqat-deploy[report]"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def _events(run: Path) -> list[dict[str, Any]]:
    path = run / "log.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise UsageError(
            f"plot: {path} cannot be read ({error}); the folder of a training run is needed"
        ) from error


def plot_widths(run: Path) -> list[Path]:
    """``widths.png`` and ``widths.svg`` in the run's folder: every width and the loss, by epoch.

    Raises:
        UsageError: no run, nothing searched in it, or no matplotlib.
    """
    events = [e for e in _events(run) if e.get("widths")]
    if not events:
        raise UsageError(f"plot: {run} has no widths in its log; a run with free widths is needed")
    epochs = [e["epoch"] for e in events]
    figure = _figure(8, 6)
    kinds = ["bits of weights", "bits of activations"]
    if any(_kind(name) == 2 for name in events[0]["widths"]):
        kinds.append("eighths of channels")
    for place, (axes, title) in enumerate(
        zip(figure.subplots(len(kinds), 1, sharex=True), kinds, strict=True)
    ):
        for name in events[0]["widths"]:
            if _kind(name) == place:
                values = [e["widths"][name] for e in events]
                axes.plot(epochs, values, drawstyle="steps-post", label=name[2:])
        axes.set_ylabel(title)
        axes.set_ylim(0.5, 8.5)
        axes.grid(alpha=0.3)
        if axes.get_lines():
            axes.legend(fontsize=6, ncols=3)
    axes.set_xlabel("epoch")
    return _save(figure, run / "widths")


def _kind(name: str) -> int:
    """Weights, activations or channels, from a width's name."""
    return 0 if name.startswith("w") else 2 if name.startswith("c:") else 1


def plot_pareto(runs: Sequence[Path], metric: str, out: Path) -> list[Path]:
    """``pareto.png`` and ``pareto.svg`` in ``out``: test accuracy of the integers against a cost.

    Args:
        runs: folders with a result.json.
        metric: a metric of the cost table, for example ``flash_kb``.
        out: folder of the pictures.

    Raises:
        UsageError: a folder without results or a result without the metric.
    """
    points = []
    for run in runs:
        try:
            result = json.loads((run / "result.json").read_text(encoding="utf-8"))
            points.append(
                (
                    float(result["predicted"][metric]),
                    float(result["accuracy"]["integer"]),
                    str(result.get("method", "")),
                    str(result["name"]),
                )
            )
        except (OSError, ValueError, KeyError) as error:
            raise UsageError(
                f"plot: {run} has no result with {metric} ({error!r}); finished runs with a cost "
                "table are needed"
            ) from error
    figure = _figure(7, 5)
    axes = figure.subplots()
    for method in dict.fromkeys(p[2] for p in points):
        own = [p for p in points if p[2] == method]
        axes.scatter([p[0] for p in own], [p[1] for p in own], label=method or "run")
    front = pareto_front([(p[0], p[1]) for p in points])
    axes.plot(*zip(*front, strict=True), color="gray", linewidth=1, drawstyle="steps-post")
    axes.set_xlabel(metric)
    axes.set_ylabel("test accuracy of the integer network, %")
    axes.grid(alpha=0.3)
    axes.legend()
    return _save(figure, out / "pareto")


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points (cost, accuracy) that no other one beats in both, by rising cost."""
    front: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front


def _save(figure: Any, stem: Path) -> list[Path]:
    paths = [stem.with_suffix(f".{kind}") for kind in FORMATS]
    stem.parent.mkdir(parents=True, exist_ok=True)
    for path in paths:
        figure.savefig(path, dpi=120)
    return paths


class TensorBoard:
    """A listener that repeats the events as TensorBoard scalars in the run's folder.

    Args:
        out: the run's folder.
        budget: limits; costs are shown as parts of them too.
    """

    def __init__(self, out: Path, budget: Mapping[str, float] | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError(
                "watch.tensorboard: the package tensorboard is not installed; it writes these "
                "logs; install adaqat-deploy[tensorboard] or switch the option off"
            ) from error
        self.budget = dict(budget or {})
        self.last = 0
        self.writer = SummaryWriter(str(out / "tensorboard"))

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Write one event."""
        if event["phase"] == "done" and "accuracy" in event:
            found = {f"test/{k}": v for k, v in event["accuracy"].items() if v is not None}
            self._write(found, self.last)
        if "epoch" not in event:
            return
        self.last = event["epoch"]
        step, part = event["epoch"], "float" if event["phase"] == "float" else "quantised"
        scalars: dict[str, float] = {f"{part}/{k}": event[k] for k in ("loss", "validation")}
        scalars |= {f"widths/{k}": v for k, v in event.get("widths", {}).items()}
        scalars |= {f"cost/{k}": v for k, v in event.get("costs", {}).items()}
        if "integer" in event:
            scalars[f"{part}/validation of the integers"] = event["integer"]
        scalars |= {
            f"cost of budget/{k}": v / self.budget[k]
            for k, v in event.get("costs", {}).items()
            if k in self.budget
        }
        scalars |= {f"strength/{k}": v for k, v in event.get("strength", {}).items()}
        for name, (_, worth, price) in event.get("probes", {}).items():
            scalars |= {f"probe worth/{name}": worth, f"probe price/{name}": price}
        self._write(scalars, step)

    def _write(self, scalars: Mapping[str, float], step: int) -> None:
        for name, value in scalars.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()
