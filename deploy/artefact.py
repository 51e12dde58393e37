# SPDX-License-Identifier: Apache-2.0
"""From a graph to a finished folder: written beside its destination, then renamed into place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import targets
from .check import check
from .emit import CModel, facts, layout, sources, version
from .errors import UsageError
from .graph import Graph
from .model_file import save
from .render import render
from .setting import only_speed
from .simulate import simulate
from .vectors import make_inputs

if TYPE_CHECKING:
    from .rtl.circuit import Circuit
    from .rtl.goals import Goals

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Artefact:
    """An emitted folder.

    Attributes:
        directory: where it lies.
        name: prefix of every C symbol.
        target: name of the target.
        model: what the templates printed.
        files: SHA-256 by file name; the manifest and the report are not listed.
    """

    directory: Path
    name: str
    target: str
    model: CModel | Circuit
    files: dict[str, str]


def build(
    graph: Graph,
    target: str,
    out: Path | str,
    *,
    name: str = "net",
    optimise: str = "speed",
    goals: Goals | None = None,
) -> Artefact:
    """Emit a graph for a target into the folder ``out``.

    The folder appears whole or not at all. A folder this function made before is replaced; any
    other non-empty folder is refused. The same graph gives the same bytes.

    Args:
        graph: the network.
        target: name of the target.
        out: the folder.
        name: prefix of every symbol and file.
        optimise: what C code is made for: "speed", "size" or "ram".
        goals: speed and size of a circuit (FPGA targets); the target's usual ones when left out.

    Raises:
        UsageError: unknown target or setting, unusable name, or a destination that cannot be used.
        UnsupportedError: a graph that breaks a rule or holds an operator without template.
    """
    chosen = targets.get(target)
    destination = Path(out)
    model: CModel | Circuit
    if chosen.family == "verilog":
        from .rtl.circuit import plan_circuit
        from .rtl.project import project

        only_speed(chosen.name, optimise)
        model = plan_circuit(check(graph), chosen, name, goals)
        check_destination(destination)
        texts = project(model)
    else:
        model = layout(check(graph), chosen, name, optimise)
        check_destination(destination)
        texts = _c_texts(model)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    except OSError as error:
        raise UsageError(
            f"-o {destination}: cannot be written ({error.strerror}); give a folder you may write"
        ) from error
    try:
        files = _write(beside, texts, graph)
        _write_manifest(beside, files, graph, chosen.name, name)
        os.chmod(beside, 0o755)
        if destination.exists():
            shutil.rmtree(destination)
        beside.rename(destination)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return Artefact(destination, name, chosen.name, model, files)


def _c_texts(model: CModel) -> dict[str, str]:
    graph = model.graph
    vector = make_inputs(graph, samples=1, seed=1, extremes=False)
    expected = simulate(graph, vector)
    stated = facts(model)
    texts = sources(model, (vector[0], expected[0]))
    texts["CMakeLists.txt"] = render("c/project/CMakeLists.txt.j2", model=stated)
    texts["README.md"] = render("c/project/README.md.j2", model=stated)
    return texts


def check_destination(destination: Path) -> None:
    """Refuse, before any long work, a destination that `build` could not use.

    Raises:
        UsageError: a file, a folder with other people's files, or a place that cannot be written.
    """
    parent = next(folder for folder in destination.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(
            f"-o {destination}: cannot be written ({parent} is no folder you may write to); give a"
            " folder you may write"
        )
    if not destination.exists():
        return
    if not destination.is_dir():
        raise UsageError(f"-o {destination}: is a file; a folder is needed; give another path")
    if any(destination.iterdir()) and not _is_ours(destination):
        raise UsageError(
            f"-o {destination}: holds files that adaqat-deploy did not write; an empty, new or"
            " earlier output folder is needed; give another path"
        )


def _is_ours(destination: Path) -> bool:
    try:
        manifest = json.loads((destination / MANIFEST).read_text())
        listed = {*manifest["files"], MANIFEST, "report.json"}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return {entry.name for entry in destination.iterdir()} <= listed


def _write(folder: Path, texts: dict[str, str], graph: Graph) -> dict[str, str]:
    for file_name, text in texts.items():
        (folder / file_name).write_text(text, encoding="utf-8", newline="\n")
    save(graph, folder / "model.adaqat")
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
    }


def add_file(folder: Path, name: str) -> None:
    """List a file that came into an emitted folder later; nothing to do without a manifest."""
    path = folder / MANIFEST
    if not path.is_file():
        return
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    path.write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_manifest(
    folder: Path, files: dict[str, str], graph: Graph, target: str, name: str
) -> None:
    manifest = {
        "generator": f"adaqat-deploy {version()}",
        "model": graph.model_id,
        "target": target,
        "name": name,
        "files": files,
    }
    text = json.dumps(manifest, indent=2, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
