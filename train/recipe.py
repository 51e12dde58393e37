# SPDX-License-Identifier: Apache-2.0
"""A training run as a TOML file: every setting, with its default; unknown keys are errors."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..deploy.errors import UsageError

Bits = int


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSection(_Section):
    """Which data, how much of it."""

    name: str = "digits"
    validation: float = Field(default=0.1, ge=0, lt=1)
    split: int | None = None
    """Seed of the validation split; default: the run's. Runs that begin with one float network need
    one split."""
    augment: Literal["none", "shift", "crop_flip"] = "none"
    batch: int = Field(default=64, ge=2)
    limit: int | None = Field(default=None, ge=2)
    """Use only so many training samples (quick trials)."""


class OptimiserSection(_Section):
    """What both phases of training can set."""

    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    mixup: float = Field(default=0.0, ge=0)
    """Parameter of the Beta distribution; 0 mixes nothing."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of an average of the parameters that takes their place at the end; 0 averages nothing.
    In the quantised phase it starts at the freeze and ends before the exact epochs."""


class FloatSection(OptimiserSection):
    """Training of the float network; ``epochs = 0`` trains the mixed network from scratch."""

    epochs: int = Field(default=30, ge=0)
    lr: float = Field(default=2e-3, gt=0)
    start: str | None = None
    """Weights to begin with: float.safetensors of a run with the same network, or a state_dict as
    safetensors. With ``epochs = 0`` they are the float network."""


class QuantSection(_Section):
    """Arguments of `prepare`."""

    weight_quantizer: Literal["lsq", "dorefa"] = "lsq"
    act_quantizer: Literal["pact", "lsq"] = "lsq"
    granularity: Literal["layer", "network"] = "layer"
    per_channel: bool = True
    weight_bits: int = Field(default=8, ge=1, le=8)
    act_bits: int = Field(default=8, ge=1, le=8)
    min_bits: int = Field(default=2, ge=1, le=8)
    first_last_bits: int | None = Field(default=8, ge=0, le=8)
    """0 leaves the first and last layer free."""
    join_bits: int | None = Field(default=8, ge=0, le=8)
    """0 leaves tensors that only feed an add free."""
    on_width_change: Literal["refit", "keep"] | None = None
    fixed: dict[str, int] = Field(default_factory=dict)
    prune: int = Field(default=0, ge=0)
    """The search may remove output channels, so many at a time; 0 keeps all."""


class SearchSection(_Section):
    """Arguments of `AdaQAT`. Without a budget and with strength 0 nothing is searched."""

    target: str = "cortex-m4"
    board: str | None = None
    """A board with the target's core: its clock, energy and flash waits price the network."""
    budget: dict[str, float] = Field(default_factory=dict)
    strength: float | None = Field(default=None, ge=0)
    method: Literal["adaqat", "uniform", "knapsack", "fracbits", "softmax"] = "adaqat"
    mode: Literal["repaired", "adaqat"] = "repaired"
    part: float = Field(default=0.35, gt=0, le=1)
    warm_up: int = Field(default=20, ge=0)
    probes: int = Field(default=2, ge=1)
    eta: float | None = Field(default=None, gt=0)
    smoothing: float = Field(default=0.8, ge=0, lt=1)
    signal: Literal["kl", "loss"] = "kl"
    """What a probe tells: divergence of the outputs (squared change for task = "reconstruct"), or
    difference of the losses."""
    freeze: Literal["upper", "lower", "break_even"] = "upper"
    max_crossings: int = Field(default=10, ge=0)
    margin: float = Field(default=0.02, ge=0, lt=0.5)
    candidates: bool = True
    """Compare the result with uniform points and a knapsack, keep the best."""
    adapt: int = Field(default=60, ge=0)
    """Training steps of each candidate before it is judged; 0 judges by probes alone. (Between
    candidates that score alike after a training, the number of processes may decide.)"""
    trials: int = Field(default=12, ge=0)
    """Assignments that the candidates' scores suggest, judged in the same way; then the best
    three are judged after twice the steps. 0 stops at the candidates."""


class TrainSection(OptimiserSection):
    """Quantisation-aware training: search, then a fresh cosine, then a tail on exact integers."""

    epochs: int = Field(default=40, ge=1)
    range_lr: float = Field(default=2e-3, gt=0)
    clip: float = Field(default=5.0, gt=0)
    distill: float = Field(default=0.0, ge=0, le=1)
    """Weight of the float network's soft labels in the loss."""
    progressive: float = Field(default=0.0, ge=0, lt=1)
    """Part of the time between the widths' freeze and the exact epochs in which they come down
    from 8 bits to their values, a bit at a time; 0 starts at their values."""
    exact_epochs: int = Field(default=2, ge=0)
    """Epochs at the end whose forward pass computes the integer network itself."""
    calibration: int = Field(default=512, ge=1)
    """Training samples that set the ranges."""


class SaveSection(_Section):
    """Checkpoints beyond the one after every epoch."""

    steps: int = Field(default=0, ge=0)
    """After so many steps; 0 for none."""
    minutes: float = Field(default=10.0, ge=0)
    """When the last one is older; 0 for never."""


class WatchSection(_Section):
    """Logs beyond log.jsonl."""

    tensorboard: bool = False


class Recipe(_Section):
    """A whole run."""

    name: str = "run"
    seed: int = 0
    threads: int = Field(default=1, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; ``auto`` takes a GPU where there is one."""
    channels_last: bool = False
    """Keep images with their channels innermost: faster convolutions on most processors."""
    bf16: bool = False
    """Train with convolutions in bfloat16; evaluation and exact integers stay as they are."""
    model: str = "digits_resnet"
    task: Literal["classify", "segment", "reconstruct"] = "classify"
    """Class scores of a sample or of every pixel (cross-entropy), or the input again (squared
    error)."""
    data: DataSection = DataSection()
    float_: FloatSection = Field(default=FloatSection(), alias="float")
    quant: QuantSection = QuantSection()
    search: SearchSection = SearchSection()
    train: TrainSection = TrainSection()
    save: SaveSection = SaveSection()
    watch: WatchSection = WatchSection()

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read a TOML file.

        Raises:
            UsageError: no such file, no TOML, an unknown key or a bad value, each named.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"recipe: {path} cannot be read ({error}); a TOML file is expected"
            ) from error
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"recipe: {path} is no TOML ({error})") from error
        return cls.parse(values, str(path))

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "recipe") -> Recipe:
        """Check a nested mapping; see `read` for errors."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = []
            for item in error.errors():
                place = ".".join(str(p) for p in item["loc"])
                if item["type"] == "extra_forbidden":
                    lines.append(f"{place}: unknown key; known keys are {_known(item['loc'])}")
                else:
                    lines.append(f"{place}: {item['input']!r} found; {item['msg']}")
            raise UsageError(f"{where}: " + "; ".join(lines)) from error

    def to_toml(self) -> str:
        """The recipe with every default written out."""
        return _toml(self.model_dump(by_alias=True, exclude_none=True))


def _known(location: tuple[int | str, ...]) -> str:
    section: type[BaseModel] = Recipe
    for part in location[:-1]:
        field = next(f for n, f in section.model_fields.items() if part in (n, f.alias))
        assert isinstance(field.annotation, type)
        section = field.annotation
    return ", ".join(f.alias or n for n, f in section.model_fields.items())


def _toml(values: Mapping[str, Any], prefix: str = "") -> str:
    lines = [f"{_key(k)} = {_value(v)}" for k, v in values.items() if not isinstance(v, dict)]
    text = "\n".join(lines) + "\n" if lines else ""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            name = f"{prefix}{_key(key)}"
            text += f"\n[{name}]\n{_toml(value, f'{name}.')}"
    return text


def _key(key: str) -> str:
    plain = key.replace("_", "").replace("-", "")
    return key if plain.isascii() and plain.isalnum() else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(v) for v in value)}]"
    return repr(value)
