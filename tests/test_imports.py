# SPDX-License-Identifier: Apache-2.0
"""Who may import whom, and the house rules that a file can break without a failing test."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("deploy", "hw_models", "templates", "train")
SOURCES = sorted(file for name in PACKAGES for file in (ROOT / name).rglob("*.py"))
ALL_PYTHON = sorted(
    file
    for name in (*PACKAGES, "tests", "scripts", "benchmarks", "examples")
    for file in (ROOT / name).rglob("*.py")
)
MAX_LINES = 300
LEAVES = {"deploy.requant", "deploy.types", "deploy.errors"}
"""Modules of deploy that train may read; reasons in docs/decisions/0002-number-leaves.md."""
JOINS = {
    "train/arena.py": {"deploy.emit", "deploy.frontends.torch", "deploy.targets"},
    "train/circuits.py": {
        "deploy.frontends.torch",
        "deploy.graph",
        "deploy.rtl.cost",
        "deploy.rtl.design",
        "deploy.rtl.folding",
        "deploy.rtl.goals",
        "deploy.rtl.plan",
        "deploy.rtl.schedule",
        "deploy.rtl.synthesis",
        "deploy.targets",
    },
    "train/cli.py": {
        "deploy.budget",
        "deploy.frontends.torch",
        "deploy.model_file",
        "deploy.simulate",
    }
}
"""The trainer's command line writes a deployable model, a limit on working memory is checked on the
planned code, and a circuit's price is that of its plan; nothing else joins both sides."""
TORCH_SIDE = {"deploy/frontends/torch.py"}
OWN = {"adaqat", *PACKAGES}
TORCH = {"torch", "torchvision"}


def imports(file: Path) -> Iterator[str]:
    """Modules a file imports, anywhere in it; ours as ``deploy.types``, from the repository."""
    here = file.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else ()
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_module(name: str) -> bool:
    """Whether ``name`` is a module or package of ours, not a name inside one."""
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def own_imports(file: Path) -> set[str]:
    """Our modules that a file imports, the most specific ones."""
    names = {name.removeprefix("adaqat.") for name in imports(file)}
    ours = {name for name in names if name.split(".")[0] in PACKAGES and is_module(name)}
    return {name for name in ours if not any(other.startswith(f"{name}.") for other in ours)}


def of(package: str) -> list[Path]:
    return [file for file in SOURCES if file.relative_to(ROOT).parts[0] == package]


def top(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", SOURCES, ids=relative)
def test_packages_import_each_other_relatively(file: Path) -> None:
    absolute = {
        module.split(".")[0]
        for node in ast.walk(ast.parse(file.read_text()))
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    assert absolute & OWN == set(), "bare names would import a second copy of the module"


@pytest.mark.parametrize("file", of("hw_models"), ids=relative)
def test_hw_models_imports_nothing_of_ours(file: Path) -> None:
    assert top(own_imports(file)) <= {"hw_models"}


@pytest.mark.parametrize("file", of("train"), ids=relative)
def test_train_imports_hw_models_and_the_number_leaves(file: Path) -> None:
    own = own_imports(file)
    assert top(own) <= {"train", "hw_models", "deploy"}
    assert {name for name in own if name.startswith("deploy")} <= (
        LEAVES | JOINS.get(relative(file), set())
    )


@pytest.mark.parametrize("file", of("deploy"), ids=relative)
def test_only_the_torch_frontend_reads_torch_and_train(file: Path) -> None:
    if relative(file) in TORCH_SIDE:
        return
    names = set(imports(file))
    assert top(names) & TORCH == set()
    own = own_imports(file)
    # the command line hands over to the trainer's own command line, when asked
    allowed = {"train.cli"} if relative(file) == "deploy/cli.py" else set()
    assert {name for name in own if name.startswith("train")} <= allowed
    if not file.name.startswith("__init__"):
        frontends = {name for name in own if name.startswith("deploy.frontends.torch")}
        assert not frontends or _lazy(file), "import the torch frontend inside a function"


def _lazy(file: Path) -> bool:
    body = ast.parse(file.read_text()).body
    return not any(
        isinstance(node, ast.ImportFrom) and "frontends" in (node.module or "") for node in body
    )


def test_the_leaves_stay_leaves() -> None:
    for leaf in LEAVES:
        file = ROOT.joinpath(*leaf.split(".")).with_suffix(".py")
        assert own_imports(file) <= LEAVES, f"{leaf} must not pull the rest of deploy into training"


def test_deploy_imports_without_torch(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    heavy = ("torch", "torchvision", "sklearn", "ortools")
    done = run_python(
        "-c",
        f"import sys, adaqat.deploy\nprint([n for n in {heavy!r} if n in sys.modules])",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_deploy_imports_where_torch_is_missing(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    block = "import sys\nsys.modules['torch'] = None\nsys.modules['torchvision'] = None\n"
    walk = (
        "import importlib, pkgutil, adaqat.deploy as d\n"
        "for m in pkgutil.walk_packages(d.__path__, 'adaqat.deploy.'):\n"
        "    if m.name not in ('adaqat.deploy.frontends.torch', 'adaqat.deploy.__main__'):\n"
        "        importlib.import_module(m.name)\n"
    )
    done = run_python("-c", block + walk)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", ALL_PYTHON, ids=relative)
def test_house_rules(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert lines and lines[0] == "# SPDX-License-Identifier: Apache-2.0"
    assert len(lines) <= MAX_LINES, f"{len(lines)} lines; split it along its nouns"
    assert file.stem not in {"utils", "util", "helpers", "common", "misc"}


@pytest.mark.parametrize("file", sorted((ROOT / "templates").rglob("*.j2")), ids=relative)
def test_templates_are_short_too(file: Path) -> None:
    count = len(file.read_text().splitlines())
    assert count <= MAX_LINES, f"{count} lines; split it along its nouns"
