# SPDX-License-Identifier: Apache-2.0
"""The prepared network: one module that runs records; the user's parameters keep their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..deploy.errors import UsageError
from .batch_norm import batch_norm
from .bits import BitWidth, override
from .capture import Network
from .channels import ChannelPlan
from .classes import scores
from .groups import Group, list_groups
from .operations import apply_weights, move, out_first, window_sum
from .pointwise import evaluate
from .quantizers import ActQuantizer, WeightQuantizer
from .records import GRID_KINDS, Record
from .replay import Replay
from .rounding import Substitute

SETTINGS = (
    "channels", "granularity", "input_signed", "mixture", "mode", "replay", "stats", "target",
)  # fmt: skip
Observer = Callable[[str, Tensor], None]
Mixture = Callable[[BitWidth], "list[tuple[int, Tensor]] | None"]
"""Bits and shares of a width's tensors; None for a width that is not mixed."""


class QuantModule(nn.Module):
    """A network with a quantiser on every weight and every tensor that gets a grid.

    The user's sub-modules, parameters and buffers keep their names, so float checkpoints load.
    Built by `prepare`.

    Attributes:
        network: the captured records.
        mode: ``quant`` (train and evaluate with fake quantisation) or ``float``.
        stats: how BatchNorm treats its statistics: ``update`` (as usual), ``probe`` (training
            batches normalise with their own statistics, running statistics stay untouched) or
            ``freeze`` (running statistics are used, also in training).
        input_signed: whether the input needs negative codes; None lets calibration decide.
        granularity: ``layer`` or ``network``.
        channels: which output channels may be pruned; None where none may.
        target: default target of the controller.
    """

    def __init__(
        self,
        model: nn.Module,
        network: Network,
        grids: Mapping[str, str],
        widths: Mapping[str, BitWidth],
        weight_quantizers: Mapping[str, WeightQuantizer],
        act_quantizers: Mapping[str, ActQuantizer],
        reasons: Mapping[str, str],
        channels: ChannelPlan | None = None,
    ) -> None:
        super().__init__()
        for name, _ in [*model.named_children(), *model.named_parameters(recurse=False)]:
            if name in SETTINGS:
                raise UsageError(
                    f"{name}: a part of the network called like a setting of the prepared network; "
                    f"every name but {', '.join(SETTINGS)} is supported; rename it"
                )
        self.network = network
        self.records = {record.name: record for record in network.records}
        self.grids = dict(grids)
        self.reasons = dict(reasons)
        self.mode = "quant"
        self.stats = "update"
        self.input_signed: bool | None = None
        self.granularity = "layer"
        self.target: object = None
        self._keys: dict[str, dict[str, str]] = {}
        self.adaqat_widths = self._table("width", widths)
        self.adaqat_weights = self._table("weight", weight_quantizers)
        self.adaqat_acts = self._table("act", act_quantizers)
        self.channels = channels
        if channels is not None:
            self.adaqat_channels = self._table("channel", channels.sets)
        self._last_use = {name: i for i, r in enumerate(network.records) for name in r.inputs}
        self.replay: Replay | None = None
        self.mixture: Mixture | None = None
        # Behind the attributes above: a layer called "network" keeps its name in state_dict.
        self._modules.update(model.named_children())
        self._parameters.update(model.named_parameters(recurse=False))
        self._buffers.update(model.named_buffers(recurse=False))

    def _table(self, kind: str, modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
        """A ModuleDict, whose keys may hold no dots."""
        self._keys[kind] = {name: name.replace(".", "/") for name in modules}
        return nn.ModuleDict({self._keys[kind][n]: m for n, m in modules.items()})

    @property
    def widths(self) -> list[BitWidth]:
        """Every width variable, fixed ones too."""
        return [w for w in self.adaqat_widths.values() if isinstance(w, BitWidth)]

    def weight_quantizer(self, record: Record) -> WeightQuantizer:
        """Quantiser of a weighted record."""
        assert record.weight is not None
        found = self.adaqat_weights[self._keys["weight"][record.weight]]
        assert isinstance(found, WeightQuantizer)
        return found

    def act_quantizer(self, name: str) -> ActQuantizer:
        """Quantiser whose grid the tensor of record ``name`` is on."""
        found = self.adaqat_acts[self._keys["act"][self.grids[name]]]
        assert isinstance(found, ActQuantizer)
        return found

    def replace_act_quantizer(self, name: str, quantizer: ActQuantizer) -> None:
        """Put another quantiser on the grid of record ``name``."""
        self.adaqat_acts[self._keys["act"][self.grids[name]]] = quantizer

    @property
    def calibrated(self) -> bool:
        """Whether ranges have been set from data (never needed again on resume)."""
        return all(bool(quantizer.calibrated) for quantizer in self.adaqat_acts.values())

    def tensor(self, path: str) -> Tensor:
        """Parameter or buffer by path."""
        *parents, name = path.split(".")
        owner: nn.Module | None = self
        for part in parents:
            assert owner is not None
            owner = owner._modules[part]
        assert owner is not None
        value: Tensor | None = owner._parameters.get(name)
        if value is None:
            value = owner._buffers[name]
        assert value is not None
        return value

    def groups(self) -> list[Group]:
        """Every width with what it rules, for people: ``print`` them."""
        return list_groups(self)

    def quantizer_parameters(self) -> list[nn.Parameter]:
        """Learned ranges: their own optimiser group, no weight decay."""
        return [*self.adaqat_weights.parameters(), *self.adaqat_acts.parameters()]

    def network_parameters(self) -> list[nn.Parameter]:
        """Everything else that is learned."""
        own = {id(p) for p in self.quantizer_parameters()}
        return [p for p in self.parameters() if id(p) not in own]

    def forward(
        self, x: Tensor, observer: Observer | None = None, codes: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Real outputs for a real batch in the user's layout.

        Args:
            x: the batch.
            observer: called with the name and value of every tensor before it is quantised.
            codes: real values of the integer network for the same batch
                (`ExactModule.values`). The forward pass then computes exactly those, gradients
                flow as in fake quantisation, and what is trained is the integer network itself.
        """
        if self.mode == "quant" and not self.calibrated:
            raise UsageError(
                "prepared network: not calibrated; ranges come from data; call "
                "calibrate(module, batches) first"
            )
        records, first, keep = self.network.records, 0, False
        values: dict[str, Tensor] = {}
        kept: dict[str, Tensor] = {}
        if self.replay is not None:
            changed = self._first_override()
            if changed is not None and self.stats == "probe" and codes is None:
                first, values = self.replay.resume(x, self.parameters(), changed)
            keep = self.training and self.stats == "update" and torch.is_grad_enabled()
        for i, record in enumerate(records[first:], start=first):
            inputs = [x] if record.kind == "input" else [values[n] for n in record.inputs]
            out = self._run(record, inputs)
            if record.kind in GRID_KINDS:
                if observer is not None:
                    observer(record.name, out.clamp(*record.clamp))
                out = (
                    self._activation(record, out)
                    if self.mode == "quant"
                    else out.clamp(*record.clamp)
                )
                if self.channels is not None and self.mode == "quant":
                    out = self.channels.masked(record.name, out)
                if codes is not None:
                    out = Substitute.apply(out, codes[record.name])  # type: ignore[no-untyped-call]
            values[record.name] = out
            if keep and self.replay is not None and record.name in self.replay.kept:
                kept[record.name] = out.detach()
            for name in record.inputs:
                if self._last_use[name] == i and name != self.network.output:
                    values.pop(name, None)
        if keep and self.replay is not None:
            self.replay.remember(x, self.parameters(), kept)
        return self.network.shaped(values[self.network.output])

    def _first_override(self) -> int | None:
        """First record that computes with the width of a probe; None outside probes."""
        for i, record in enumerate(self.network.records):
            if record.kind in GRID_KINDS and self.act_quantizer(record.name).width.probing:
                return i
            if self.channels is not None and any(
                width.probing for width in self.channels.widths(record.name)
            ):
                return i
            if record.weight is not None and self.weight_quantizer(record).width.probing:
                return i
        return None

    def _run(self, record: Record, inputs: list[Tensor]) -> Tensor:
        moved = move(record, inputs)
        if moved is not None:
            return moved
        x = inputs[0]
        match record.kind:
            case "input":
                return x.unsqueeze(2) if record.attrs.get("sequence") else x
            case "conv2d" | "conv_transpose2d" | "linear":
                return batch_norm(self, record.bn, self._weighted(record, x))
            case "affine":
                return batch_norm(self, record.bn, x)
            case "add":
                return inputs[0] + inputs[1] if record.attrs["signs"][1] > 0 else x - inputs[1]
            case "mul":
                return inputs[0] * inputs[1]
            case "pointwise":
                path = record.attrs.get("slopes")
                return evaluate(record.attrs, x, None if path is None else self.tensor(path))
            case "upsample_bilinear":
                size, corners = record.attrs["size"], record.attrs["corners"]
                return F.interpolate(x, size, mode="bilinear", align_corners=corners)
            case "softmax" | "argmax":
                return scores(record, x)
            case _:
                mean: Tensor = window_sum(record, x) / record.attrs["divisor"]
                return mean

    def _activation(self, record: Record, x: Tensor) -> Tensor:
        quantizer = self.act_quantizer(record.name)
        return self._mixed(quantizer.width, lambda: quantizer(x, record.clamp))

    def _mixed(self, width: BitWidth, quantise: Callable[[], Tensor]) -> Tensor:
        """A quantised tensor, or a mixture of it at several widths while a search asks for it."""
        parts = None if self.mixture is None else self.mixture(width)
        if parts is None:
            return quantise()
        values = []
        for bits, part in parts:
            with override({width: bits}):
                values.append(quantise() * part)
        return torch.stack(values).sum(0) if len(values) > 1 else values[0]

    def _weighted(self, record: Record, x: Tensor) -> Tensor:
        assert record.weight is not None
        weight = out_first(record, self.tensor(record.weight))
        if self.mode == "quant":
            quantizer, real = self.weight_quantizer(record), weight
            weight = self._mixed(quantizer.width, lambda: quantizer(real))
        return apply_weights(
            record, x, weight, None if record.bias is None else self.tensor(record.bias)
        )

    @contextmanager
    def running(self, *, mode: str | None = None, stats: str | None = None) -> Iterator[None]:
        """Switch mode or statistics for a moment."""
        before = self.mode, self.stats
        self.mode, self.stats = mode or before[0], stats or before[1]
        try:
            yield
        finally:
            self.mode, self.stats = before
