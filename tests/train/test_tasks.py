# SPDX-License-Identifier: Apache-2.0
"""Tasks beside classification: scores against slow loops, data, mistakes, and recipes that run."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from adaqat.deploy import UsageError, lower
from adaqat.train import Recipe, fit
from adaqat.train.cli import packaged
from adaqat.train.data import load_data
from adaqat.train.devices import choose_device
from adaqat.train.search import bit_worth
from adaqat.train.tasks import TASKS

pytest.importorskip("sklearn")


def test_mean_intersection_over_union() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(300, 1, 3, 4), torch.randint(0, 3, (300, 3, 4))
    scores = torch.randn(300, 4, 3, 4)
    found = scores.argmax(1)
    parts = []
    for label in range(4):
        meet = sum(int(a == b == label) for a, b in zip(found.flatten(), y.flatten(), strict=True))
        join = sum(
            int(label in (a, b))
            for a, b in zip(found.flatten().tolist(), y.flatten().tolist(), strict=True)
        )
        parts.append(meet / join)
    batches = iter(torch.split(scores, 256))
    percent, loss = TASKS["segment"].score(lambda _: next(batches), (x, y))
    assert percent == pytest.approx(100 * sum(parts) / 4)
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(scores, y)), rel=1e-6)


def test_explained_variance() -> None:
    torch.manual_seed(0)
    x = torch.randn(300, 5)
    task, labels = TASKS["reconstruct"], torch.zeros(300)
    assert task.score(lambda v: v, (x, labels)) == (100.0, 0.0)
    mean = x.double().mean(0)
    percent, loss = task.score(lambda v: mean.expand(len(v), 5), (x, labels))
    assert percent == pytest.approx(0.0, abs=1e-9) and loss == pytest.approx(0.99, abs=0.1)
    one = torch.tensor(1.0)
    assert bit_worth((one, x), (one, x + 2), "squares") == pytest.approx(4.0)


def test_scenes_label_what_they_show() -> None:
    data = load_data("digits_scenes")
    x, y = data.train
    assert x.shape[1:] == (1, 16, 16) and y.shape[1:] == (16, 16) and data.classes == 3
    assert set(y.unique().tolist()) == {0, 1, 2}
    assert float(x[:, 0][y > 0].min()) > 0.5 >= 0.35 >= float(x[:, 0][y == 0].quantile(0.5))
    again = load_data("digits_scenes")
    assert torch.equal(again.train[0], x) and torch.equal(again.test[1], data.test[1])
    assert load_data("digits_vectors").train[0].shape[1:] == (64,)
    assert load_data("digits_sequence").train[0].shape[1:] == (1, 1, 64)


@pytest.mark.parametrize("name", ["digits_autoencoder", "digits_tcn", "digits_unet"])
def test_recipes_of_other_networks_run(name: str) -> None:
    values = packaged(name).model_dump(by_alias=True)
    values["data"]["limit"] = 64
    values["float"]["epochs"] = 2
    values["train"].update(epochs=2, exact_epochs=1, calibration=64)
    values["search"].update(candidates=False, warm_up=0, part=0.5)
    result = fit(Recipe.parse(values))
    figures = json.loads(json.dumps(result.figures))
    task = TASKS[figures["task"]]
    assert figures["metric"] == task.metric
    assert set(figures) & {"cross_entropy", "squared_error"} == {
        "squared_error" if name == "digits_autoencoder" else "cross_entropy"
    }
    assert abs(figures["accuracy"]["integer"] - figures["accuracy"]["fake_quantised"]) < 15
    assert figures["predicted"]["flash_kb"] <= figures["budget"]["flash_kb"]
    lower(result.module, result.example)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "segment"}, "segment with digits found, which has no label for every pixel"),
        ({"data": {"name": "digits_scenes"}}, "classify with digits_scenes found, whose labels ar"),
        (
            {"task": "segment", "data": {"name": "digits_scenes", "augment": "shift"}},
            r"task: segment found; data.augment = 'shift' would move images without their labels",
        ),
        (
            {"task": "reconstruct", "train": {"label_smoothing": 0.1}},
            "task: reconstruct found; label_smoothing needs classes",
        ),
        (
            {"model": "unet", "task": "segment", "data": {"name": "digits_vectors"}},
            "segment with digits_vectors found",
        ),
        (
            {"model": "tcn", "task": "reconstruct", "data": {"name": "digits_sequence"}},
            r"tcn gives \(2, 10\) .* takes \(2, 1, 1, 64\); task = 'classify' does",
        ),
        ({"device": "cuda"}, "device: 'cuda' found, but PyTorch sees no GPU here"),
    ],
)
def test_mistakes(values: dict[str, Any], message: str) -> None:
    if "device" in values and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UsageError, match=message):
        fit(Recipe.parse(values))


def test_the_processor_is_always_there() -> None:
    assert choose_device("cpu") == torch.device("cpu")
