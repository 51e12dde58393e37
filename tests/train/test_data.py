# SPDX-License-Identifier: Apache-2.0
"""Splits, batches, folders and networks by name."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
import torch

from adaqat.deploy import UsageError
from adaqat.train.data import ROOT_VARIABLE, batches, load_data
from adaqat.train.models import MODELS, build_model


def test_digits_splits_are_disjoint_and_repeatable() -> None:
    pytest.importorskip("sklearn")
    one, two, other = load_data("digits"), load_data("digits"), load_data("digits", seed=1)
    assert torch.equal(one.train[0], two.train[0])
    assert not torch.equal(one.test[1], other.test[1])
    assert len(one.train[0]) + len(one.validation[0]) + len(one.test[0]) == 1797
    assert one.train[0].shape[1:] == (1, 8, 8) and one.channels == 1
    assert float(one.train[0].min()) == 0 and float(one.train[0].max()) == 1


def test_batches_cover_and_repeat() -> None:
    pair = (torch.arange(10.0)[:, None, None, None].expand(10, 1, 8, 8), torch.arange(10))
    assert [len(x) for x, _ in batches(pair, 4)] == [4, 4, 2]
    first, again = (torch.cat([y for _, y in batches(pair, 5, seed=3)]) for _ in range(2))
    assert torch.equal(first, again) and sorted(first.tolist()) == list(range(10))
    assert [len(x) for x, _ in batches(pair, 64, seed=0)] == [10], "small sets give one batch"


@pytest.mark.parametrize("kind", ["shift", "crop_flip"])
def test_augmentation_keeps_shape_and_content(kind: str) -> None:
    x = torch.zeros(6, 2, 16, 16)
    x[:, :, 7:9, 7:9] = 1.0
    for moved, _ in batches((x, torch.zeros(6)), 6, seed=1, augment=kind):
        assert moved.shape == x.shape
        assert torch.equal(moved.sum((2, 3)), x.sum((2, 3)))
        assert not torch.equal(moved, x)


def test_unknown_names_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"'mnist' found; digits, .*, cifar10 are supported"):
        load_data("mnist")
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    with pytest.raises(UsageError, match="pass --data-root or set ADAQAT_DATA"):
        load_data("cifar10")
    pytest.importorskip("PIL")
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    with pytest.raises(UsageError, match="FashionMNIST not found or damaged"):
        load_data("fashion_mnist")


def test_fashion_mnist_is_read_by_torchvision(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 20), ("t10k", 5)):
        pixels = bytes(i % 256 for i in range(count * 784))
        for name, head, body in (
            (f"{part}-images-idx3-ubyte", struct.pack(">IIII", 2051, count, 28, 28), pixels),
            (f"{part}-labels-idx1-ubyte", struct.pack(">II", 2049, count), bytes(count)),
        ):
            (raw / name).write_bytes(head + body)
            (raw / f"{name}.gz").write_bytes(gzip.compress(head + body))
    pytest.importorskip("PIL")
    data = load_data("fashion_mnist", tmp_path)
    assert len(data.train[0]) == 18 and len(data.test[0]) == 5
    assert float(data.test[0].max()) == 1.0


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"autoencoder", "unet"}))
def test_models_take_images(name: str) -> None:
    model = build_model(name, 3, 7)
    assert model(torch.randn(2, 3, 28, 28)).shape == (2, 7)


def test_digits_resnet_is_small() -> None:
    count = sum(p.numel() for p in build_model("digits_resnet", 1, 10).parameters())
    assert 10_000 < count < 20_000


def test_users_own_model(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from torch import nn\n"
        "def net(channels, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 64, classes))\n"
        "def wrong(channels, classes):\n"
        "    return 3\n"
    )
    assert build_model(f"{path}:net", 1, 10)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    for name, message in (
        (f"{path}:wrong", "gave int"),
        (f"{path}:nothing", "cannot be built"),
        (f"{tmp_path}/none.py:net", "cannot be built"),
        ("no.such.module:net", "cannot be built"),
        ("resnet9000", "'resnet9000' found; digits_resnet"),
    ):
        with pytest.raises(UsageError, match=message):
            build_model(name, 1, 10)
