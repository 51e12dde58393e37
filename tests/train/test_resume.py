# SPDX-License-Identifier: Apache-2.0
"""A killed run goes on as if nothing had happened, or says why it may not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from adaqat.deploy import ModelFileError, UsageError
from adaqat.train import Recipe, fit, pricing
from adaqat.train.session import differences

pytest.importorskip("sklearn")
HERE = Path(__file__).parent

TINY: dict[str, Any] = {
    "channels_last": True,
    "data": {"limit": 96, "batch": 32, "augment": "shift"},
    "float": {"epochs": 1, "mixup": 0.4, "ema": 0.9},
    "search": {
        "target": "toy", "budget": {"flash_kb": 10.5}, "warm_up": 1, "part": 0.5, "adapt": 1,
    },
    "train": {
        "epochs": 3, "exact_epochs": 1, "calibration": 32,
        "mixup": 0.3, "label_smoothing": 0.1, "ema": 0.8, "distill": 0.3, "progressive": 0.7,
    },
    "save": {"steps": 2},
}  # fmt: skip


def killed(recipe: Path, out: Path, steps: int) -> int:
    done = subprocess.run(
        [sys.executable, str(HERE / "killed_run.py"), str(recipe), str(out), str(steps)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize(
    ("method", "gradients", "deaths"),
    # a checkpoint every two steps and death in the third: every life begins and ends elsewhere;
    # methods whose widths are trained take two gradients in a step of the search
    [("adaqat", 3, 4), pytest.param("fracbits", 5, 2, marks=pytest.mark.sweep),
     pytest.param("softmax", 5, 2, marks=pytest.mark.sweep)],
)
def test_kill_minus_nine_at_any_step_changes_no_bit(
    tmp_path: Path, method: str, gradients: int, deaths: int
) -> None:
    recipe = tmp_path / "r.toml"
    values = {**TINY, "search": {**TINY["search"], "method": method}}
    values["quant"] = {"prune": 4 if method == "adaqat" else 0}
    recipe.write_text(Recipe.parse(values).to_toml())
    assert killed(recipe, tmp_path / "whole", 0) == 0
    assert killed(recipe, tmp_path / "killed", gradients) >= deaths
    whole, again = (torch.load(tmp_path / n / "state.pt") for n in ("whole", "killed"))
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[key], again[key]) for key in whole)
    logs = [(tmp_path / n / "log.jsonl").read_text().splitlines() for n in ("whole", "killed")]
    events = [[json.loads(line) for line in log] for log in logs]
    for log in events:
        log[-1].pop("seconds")
    assert events[0] == events[1], "every event once"
    results = [json.loads((tmp_path / n / "result.json").read_text()) for n in ("whole", "killed")]
    assert results[0]["accuracy"] == results[1]["accuracy"]
    assert results[0]["widths"] == results[1]["widths"]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, target: Any) -> Any:
    known = pricing.load
    monkeypatch.setattr(pricing, "load", lambda name: target if name == "toy" else known(name))
    return target


def test_another_recipe_or_table_is_refused(tmp_path: Path, toy: Any) -> None:
    values = {
        **TINY,
        "data": {"limit": 64, "batch": 32},
        "train": {"epochs": 1, "exact_epochs": 0, "calibration": 32},
    }
    out = tmp_path / "run"
    fit(Recipe.parse(values), out)
    changed = {**values, "seed": 3, "train": {**values["train"], "lr": 0.5}}
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(UsageError) as caught:
        fit(Recipe.parse(changed), out, resume=True)
    assert "seed: 0 -> 3; train.lr: 0.001 -> 0.5" in str(caught.value)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    toy.table_hash = "feedbeef"
    with pytest.raises(UsageError, match="cost table: toy -> toy feedbeef"):
        fit(Recipe.parse(values), out, resume=True)


@pytest.mark.usefixtures("toy")
def test_a_checkpoint_of_a_version_with_fewer_options_goes_on(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    values = {**TINY, "data": {"limit": 64, "batch": 32}, "float": {"epochs": 1}}
    values["train"] = {"epochs": 1, "exact_epochs": 0, "calibration": 32}
    fit(Recipe.parse(values), tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
        state = json.loads(file.metadata()["adaqat"])
    del state["recipe"]["task"], state["recipe"]["device"], state["recipe"]["quant"]["prune"]
    save_file(tensors, path, {"adaqat": json.dumps(state)})
    fit(Recipe.parse(values), tmp_path, resume=True)
    with pytest.raises(UsageError, match=r"quant.prune: 0 -> 4\)?"):
        fit(Recipe.parse({**values, "quant": {"prune": 4}}), tmp_path, resume=True)


def test_harmless_changes_are_no_differences() -> None:
    old = Recipe.parse({}).model_dump(by_alias=True)
    new = Recipe.parse({"name": "x", "save": {"steps": 9}}).model_dump(by_alias=True)
    assert differences(old, new) == []
    new["search"]["budget"] = {"flash_kb": 3.0}
    assert differences(old, new) == ["search.budget.flash_kb: None -> 3.0"]


@pytest.mark.usefixtures("toy")
def test_a_float_network_trained_before_is_the_start(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from adaqat.train.models import build_model

    first = fit(Recipe.parse(TINY), tmp_path / "first")
    trained = tmp_path / "first" / "float.safetensors"
    given = {**TINY, "float": {"epochs": 0, "start": str(trained)}}
    again = fit(Recipe.parse(given), tmp_path / "again")
    assert again.figures["accuracy"]["float"] == first.figures["accuracy"]["float"]
    phases = [
        json.loads(line)["phase"]
        for line in (tmp_path / "again" / "log.jsonl").read_text().splitlines()
    ]
    assert phases.count("float") == 1, "evaluated, not trained"
    # resuming does not look at the other run any more
    trained.unlink()
    (tmp_path / "again" / "checkpoint.safetensors").unlink()
    resumed = fit(Recipe.parse(given), tmp_path / "again", resume=True)
    for key, value in again.module.state_dict().items():
        assert torch.equal(resumed.module.state_dict()[key], value), key
    # a plain state_dict serves as well
    torch.manual_seed(1)
    save_file(build_model("digits_resnet", 1, 10).state_dict(), tmp_path / "plain.safetensors")
    given["float"]["start"] = str(tmp_path / "plain.safetensors")
    assert fit(Recipe.parse(given)).figures["accuracy"]["float"] < 50


@pytest.mark.usefixtures("toy")
def test_a_bad_start_is_named_and_writes_nothing(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from adaqat.train.models import build_model

    given = {**TINY, "float": {"epochs": 0, "start": str(tmp_path / "none.safetensors")}}
    with pytest.raises(ModelFileError, match=r"float.start: .*none.safetensors cannot be read"):
        fit(Recipe.parse(given), tmp_path / "out")
    save_file(build_model("resnet8", 3, 10).state_dict(), tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError, match=r"float.start: .*belongs to another network"):
        fit(Recipe.parse(given), tmp_path / "out")
    assert not (tmp_path / "out").exists()
