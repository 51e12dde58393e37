# SPDX-License-Identifier: Apache-2.0
"""What the documents state is current and what the examples show runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adaqat.deploy import build
from adaqat.deploy.support_table import BEGIN, END, updated

Run = Callable[..., subprocess.CompletedProcess[str]]
EXAMPLE = "examples/module_to_firmware.py"


def test_the_operator_table_is_current(root: Path) -> None:
    text = (root / "README.md").read_text()
    assert BEGIN in text and END in text
    assert text == updated(text), "run: python -m adaqat.deploy.support_table README.md"


def test_the_readme_shows_the_example(root: Path) -> None:
    code = (root / EXAMPLE).read_text().split("\n", 1)[1]
    assert f"```python\n{code}```" in (root / "README.md").read_text()


def test_links_lead_somewhere(root: Path) -> None:
    documents = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("tests/*.md")]
    assert len(documents) >= 6
    for document in documents:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document.name}: {link}"


@pytest.mark.slow
def test_the_example_runs(root: Path, run_python: Run, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("torch")
    pytest.importorskip("unicorn")
    done = run_python(str(root / EXAMPLE), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.match(r"0 of \d+ integers differ\n\d+ cycles of cortex-m4\n", done.stdout)
    assert (tmp_path / "firmware" / "net.c").is_file()


@pytest.mark.skipif(not shutil.which("cc"), reason="no host compiler called cc")
def test_the_firmware_example_compiles_and_runs(
    root: Path, tiny_graph: Any, tmp_path: Path
) -> None:
    build(tiny_graph, "c99", tmp_path / "firmware")
    source = root / "examples" / "firmware" / "main.c"
    units = [str(path) for path in (tmp_path / "firmware").glob("*.c")]
    program = tmp_path / "classify"
    subprocess.run(
        ["cc", "-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I",
         str(tmp_path / "firmware"), str(source), *units, "-o", str(program)],
        check=True,
    )  # fmt: skip
    assert subprocess.run([str(program)], check=False).returncode == 0
