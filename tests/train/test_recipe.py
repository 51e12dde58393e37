# SPDX-License-Identifier: Apache-2.0
"""Recipes: defaults, round trip, and a message for every mistake."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from adaqat.deploy import UsageError
from adaqat.train import Recipe
from adaqat.train.cli import RECIPES


def test_round_trip(tmp_path: Path) -> None:
    recipe = Recipe.parse(
        {
            "name": 'a "b"\\',
            "quant": {"fixed": {"w:blocks.0": 4, "a:*": 6}},
            "search": {"budget": {"flash_kb": 12.5}},
            "float": {"epochs": 0},
        }
    )
    path = tmp_path / "r.toml"
    path.write_text(recipe.to_toml())
    assert Recipe.read(path) == recipe
    assert "smoothing = 0.8" in recipe.to_toml(), "every default is written out"


@pytest.mark.parametrize("name", RECIPES)
def test_packaged_recipes_are_valid(name: str) -> None:
    text = (files("adaqat.train") / "recipes" / f"{name}.toml").read_text()
    assert f'name = "{name}"' in text
    with_path = Path(str(files("adaqat.train") / "recipes" / f"{name}.toml"))
    assert Recipe.read(with_path).search.budget


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 3", "epochs: unknown key; known keys are name, seed"),
        ("[train]\nepoch = 3", "train.epoch: unknown key; known keys are optimizer, lr"),
        ("[float]\nlr = -1", "float.lr: -1 found; Input should be greater than 0"),
        ("[quant]\nweight_bits = 9", "quant.weight_bits: 9 found"),
        ('[search]\nmode = "fast"', "search.mode: 'fast' found"),
        ("name = ", "is no TOML"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        Recipe.read(path)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        Recipe.read(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        Recipe.read(tmp_path / "b.toml")
