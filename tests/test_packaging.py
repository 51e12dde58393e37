# SPDX-License-Identifier: Apache-2.0
"""What is shipped: the package list, the data files, and that the base needs no torch."""

from __future__ import annotations

import importlib.metadata as metadata
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

PACKAGES = ("deploy", "hw_models", "templates", "train")


def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def test_package_list_is_complete(root: Path) -> None:
    declared = project(root)["tool"]["setuptools"]
    found = {
        "adaqat." + ".".join(file.parent.relative_to(root).parts)
        for name in PACKAGES
        for file in (root / name).rglob("__init__.py")
    }
    assert set(declared["packages"]) == found, "add the sub-package to pyproject.toml"
    mapped = {f"adaqat.{path.replace('/', '.')}": path for path in declared["package-dir"].values()}
    assert declared["package-dir"] == mapped
    assert set(mapped) == found, "add the sub-package to [tool.setuptools.package-dir]"


def test_every_python_directory_is_a_package(root: Path) -> None:
    folders = {file.parent for name in PACKAGES for file in (root / name).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_constraints_satisfy_the_declared_ranges(root: Path) -> None:
    pinned = {}
    for line in (root / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pinned[_key(name)] = version
    declared = project(root)["project"]
    groups = [declared["dependencies"], *declared["optional-dependencies"].values()]
    for text in (text for group in groups for text in group):
        requirement = Requirement(text)
        version = pinned.get(_key(requirement.name))
        if version is not None:
            assert requirement.specifier.contains(version), f"{text} against {version}"
    for text in declared["dependencies"] + declared["optional-dependencies"]["train"]:
        assert _key(Requirement(text).name) in pinned, f"{text}: no exact version in constraints"


def test_wheel_holds_every_file_of_the_packages(root: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {
        f"adaqat/{file.relative_to(root).as_posix()}"
        for name in PACKAGES
        for file in (root / name).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    shipped = {name for name in names if name.startswith("adaqat/")}
    assert expected - shipped == set(), "add the pattern to [tool.setuptools.package-data]"
    assert shipped - expected == set()


def test_wheel_takes_one_top_level_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"adaqat"}


def test_typed_packages_say_so(root: Path) -> None:
    for name in ("deploy", "hw_models", "train"):
        assert (root / name / "py.typed").is_file()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a fresh environment that holds the declared base dependencies and no more.

    The dependencies are links to the files of the running environment, so no index is asked; what
    is linked follows from the wheel's own metadata, so a missing declaration shows.
    """
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        declared = metadata.PathDistribution(zipfile.Path(archive, entry).parent).requires or []
    for name in sorted(_closure([text for text in declared if "extra ==" not in text])):
        for item in _top_level(name):
            target = site / item.name
            if not target.exists():
                target.symlink_to(item, target_is_directory=item.is_dir())
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index",
         "--quiet", str(wheel)],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if "No module named pip" in done.stderr:
        pytest.skip("pip is not installed")
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def _run(command: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(command), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "100"},
        check=False,
    )


def test_installed_wheel_imports_without_torch(installed: Path, tmp_path: Path) -> None:
    # a user's own module of a generic name must not get in the way
    (tmp_path / "train.py").write_text("raise RuntimeError('shadowed')\n")
    done = _run(
        installed / "python",
        "-c",
        "import importlib.util as u; assert u.find_spec('torch') is None\n"
        "import adaqat.deploy as d; print(d.__file__)",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "site-packages" in done.stdout


def test_console_scripts_of_the_base(installed: Path, tiny_model: Path, tmp_path: Path) -> None:
    assert "--target" in _run(installed / "adaqat-deploy", "--help", cwd=tmp_path).stdout
    assert "deploy" in _run(installed / "adaqat", "--help", cwd=tmp_path).stdout
    emitted = _run(
        installed / "adaqat-deploy", str(tiny_model), "-t", "c99", "-o", "out", "--verify", "none",
        cwd=tmp_path,
    )  # fmt: skip
    assert emitted.returncode == 0, emitted.stderr
    assert (tmp_path / "out" / "net.c").is_file()


def test_base_without_emulator_says_what_to_install(
    installed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    command = (installed / "adaqat-deploy", str(tiny_model), "-t", "cortex-m3", "-o", "out")
    done = _run(*command, "--verify", "emulator", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "adaqat-deploy[emulate]" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _closure(requirements: list[str]) -> set[str]:
    """Names of the distributions that the requirements need, themselves included."""
    found: set[str] = set()
    queue = [Requirement(text) for text in requirements]
    while queue:
        requirement = queue.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if _key(requirement.name) not in found:
            found.add(_key(requirement.name))
            for text in metadata.requires(requirement.name) or []:
                queue.append(Requirement(text))
    return found


def _top_level(name: str) -> set[Path]:
    """Entries of site-packages that a distribution owns."""
    found = set()
    for file in metadata.files(name) or []:
        if file.parts[0] not in ("..", "__pycache__"):
            found.add(Path(str(file.locate())).parents[len(file.parts) - 2]
                      if len(file.parts) > 1 else Path(str(file.locate())))
    return found
