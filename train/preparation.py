# SPDX-License-Identifier: Apache-2.0
"""Turns a network into a prepared one: grids, shared grids, width variables, quantisers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ..deploy.errors import UsageError
from .bits import MAX_BITS, BitWidth
from .camera import Camera
from .capture import Network, capture
from .channels import plan_channels
from .grids import share_grids, starts
from .module import QuantModule
from .operations import out_first
from .quantizers import (
    ActQuantizer,
    DorefaWeights,
    FixedGrid,
    LsqWeights,
    UnitGrid,
    WeightQuantizer,
)
from .records import GRID_KINDS, UNIT_KINDS, WEIGHTED, Record

if TYPE_CHECKING:
    from ..hw_models import HwModel


@dataclass(frozen=True)
class _Options:
    granularity: str
    weight_bits: int
    act_bits: int
    min_bits: int
    fixed: Mapping[str, int]
    first_last_bits: int | None
    join_bits: int | None


def prepare(
    model: nn.Module,
    example_input: Tensor,
    *,
    target: HwModel | str | None = None,
    granularity: str = "layer",
    weight_bits: int | None = None,
    act_bits: int | None = None,
    weight_quantizer: str = "lsq",
    act_quantizer: str = "pact",
    per_channel: bool = True,
    fixed: Mapping[str, int] | None = None,
    first_last_bits: int | None = 8,
    join_bits: int | None = 8,
    min_bits: int = 2,
    on_width_change: str | None = None,
    input_signed: bool | None = None,
    input_scale: float | None = None,
    input_normalisation: tuple[Sequence[float], Sequence[float]] | None = None,
    prune: int = 0,
) -> QuantModule:
    """Attach quantisers and trainable bit-widths to a copy of ``model``.

    Args:
        model: the float network, trained or not; it is not changed.
        example_input: a batch in PyTorch layout; only its shape matters.
        target: remembered as the default target of the controller.
        granularity: ``layer`` (a width per tensor) or ``network`` (one weight and one activation
            width, as in the paper).
        weight_bits: starting width of weights, default 8.
        act_bits: starting width of activations, default 8.
        weight_quantizer: ``lsq`` or ``dorefa``.
        act_quantizer: ``pact`` or ``lsq``.
        per_channel: one weight scale per output channel (LSQ only).
        fixed: pattern -> bits for widths that stay: matched against ``w:<layer>``, ``a:<node>``,
            the bare layer path (both) with shell wildcards.
        first_last_bits: width of the input, the first and last layer's weights, the tensor the
            last layer reads and the output; None leaves all but input and output free.
        join_bits: width of tensors that only feed a residual add; None leaves them free.
        min_bits: smallest width of free variables.
        on_width_change: ``refit`` (the range follows a table of best ranges per width) or
            ``keep``; default: refit for LSQ, keep for PACT.
        input_signed: whether the input needs negative codes; default: what calibration sees.
        input_scale: the input is unsigned bytes of this real size each (1/255 for images in 0..1
            out of a camera) instead of a grid that calibration chooses.
        input_normalisation: (mean, std) per channel, which the network expects to be applied to
            its input; they become an exact table per channel, and the module takes plain images.
            Without ``input_scale``, bytes of 1/255 each.
        prune: let the search remove output channels, so many at a time; 0 keeps all.

    Raises:
        UnsupportedError: every node that cannot be expressed, at once.
        UsageError: an unknown option, or a pattern that matches nothing.
    """
    _one_of("granularity", granularity, ("layer", "network"))
    _one_of("weight_quantizer", weight_quantizer, ("lsq", "dorefa"))
    _one_of("act_quantizer", act_quantizer, ("pact", "lsq"))
    _one_of("on_width_change", on_width_change, (None, "refit", "keep"))
    options = _Options(
        granularity,
        weight_bits or MAX_BITS,
        act_bits or MAX_BITS,
        min_bits,
        dict(fixed or {}),
        first_last_bits,
        join_bits,
    )
    for label, bits in [
        ("weight_bits", options.weight_bits),
        ("act_bits", options.act_bits),
        ("min_bits", min_bits),
        ("first_last_bits", first_last_bits or 8),
        ("join_bits", join_bits or 8),
        *options.fixed.items(),
    ]:
        if not 1 <= bits <= MAX_BITS:
            raise UsageError(f"{label}: {bits} bits found; 1 to {MAX_BITS} are supported")
    if prune < 0 or (prune and weight_quantizer == "dorefa"):
        raise UsageError(
            f"prune: {prune} with {weight_quantizer} weights found; 0 or a number of channels, with"
            " lsq weights, is supported (dorefa scales all channels of a layer together)"
        )
    camera = Camera.of(input_scale, input_normalisation)
    network, grids = share_grids(camera.placed(capture(model, example_input)))
    copied = copy.deepcopy(model)
    plan = _WidthPlan(network, grids, options)
    weights: dict[str, WeightQuantizer] = {}
    parameters = dict(copied.named_parameters())
    for record in network.records:
        if record.weight is not None and record.weight not in weights:
            width = plan.weights[record.weight]
            weight = out_first(record, parameters[record.weight])
            weights[record.weight] = (
                DorefaWeights(width, weight)
                if weight_quantizer == "dorefa"
                else LsqWeights(
                    width, weight, per_channel=per_channel, refit=on_width_change != "keep"
                )
            )
    refit = on_width_change == "refit" or (on_width_change is None and act_quantizer == "lsq")
    acts = {
        grid: UnitGrid(width, share=plan.records[grid].kind == "softmax")
        if plan.records[grid].kind in UNIT_KINDS
        else ActQuantizer(width, rule=act_quantizer, refit=refit)
        for grid, width in plan.acts.items()
    }
    channels, kept, ties = plan_channels(network, prune) if prune else (None, [], {})
    module = QuantModule(
        copied,
        network,
        grids,
        {w.name: w for w in [*plan.all, *kept]},
        weights,
        acts,
        plan.reasons | ties,
        channels,
    )
    first = network.records[0].name
    if camera.scale is not None:
        input_signed = False
        module.replace_act_quantizer(first, FixedGrid(plan.acts[grids[first]], camera.scale))
    module.input_signed = input_signed
    module.granularity = granularity
    module.target = target
    module.train(model.training)
    return module


def _one_of(label: str, value: str | None, known: tuple[str | None, ...]) -> None:
    if value not in known:
        names = ", ".join(str(k) for k in known if k is not None)
        raise UsageError(f"{label}: {value!r} found; {names} are supported")


class _WidthPlan:
    """Decides which width rules which weight and which grid."""

    def __init__(self, network: Network, grids: Mapping[str, str], options: _Options) -> None:
        self.network, self.grids, self.options = network, grids, options
        self.records = {r.name: r for r in network.records}
        self.weights: dict[str, BitWidth] = {}
        self.acts: dict[str, BitWidth] = {}
        self.reasons: dict[str, str] = {}
        self.shared: dict[str, BitWidth] = {}
        self.used: set[str] = set()
        end = self.records[network.output]
        while end.kind in UNIT_KINDS or (end.kind == "flatten" and end.inputs):
            end = self.records[end.inputs[0]]
        self.end = grids[end.name]
        self.start = starts(network, grids)
        for record in network.records:
            if record.weight is not None and record.weight not in self.weights:
                self.weights[record.weight] = self._weight(record)
        for grid in dict.fromkeys(grids[r.name] for r in network.records):
            self.acts[grid] = self._act(grid)
        unmatched = sorted(set(options.fixed) - self.used)
        if unmatched:
            names = ", ".join(w.name for w in self.all)
            raise UsageError(
                f"fixed: nothing matches {', '.join(unmatched)}; the widths are {names}"
            )

    @property
    def all(self) -> list[BitWidth]:
        """Every distinct width."""
        return list({w.name: w for w in [*self.weights.values(), *self.acts.values()]}.values())

    def _rule(self, kind: str, names: list[str]) -> int | None:
        """Bits that the user's patterns fix for a tensor; all matching patterns count as used."""
        bits = None
        for pattern, value in self.options.fixed.items():
            candidates = [f"{kind[0]}:{name}" for name in names] + names
            if any(fnmatch(candidate, pattern) for candidate in candidates):
                self.used.add(pattern)
                bits = value if bits is None else bits
        return bits

    def _new(self, name: str, kind: str, bits: int, reason: str) -> BitWidth:
        self.reasons[name] = reason
        return BitWidth(name, kind, bits, lo=self.options.min_bits, fixed=bool(reason))

    def _free(self, name: str, kind: str) -> BitWidth:
        bits = self.options.weight_bits if kind == "weight" else self.options.act_bits
        if self.options.granularity == "network":
            name = "weights" if kind == "weight" else "activations"
            if name not in self.shared:
                self.shared[name] = self._new(name, kind, bits, "")
            return self.shared[name]
        return self._new(name, kind, bits, "")

    def _weight(self, record: Record) -> BitWidth:
        label = record.source if record.weight is None else record.weight.removesuffix(".weight")
        name = f"w:{label}"
        bits = self._rule("weight", [label, record.name])
        if bits is not None:
            return self._new(name, "weight", bits, "fixed by the user")
        edge = self.options.first_last_bits
        if edge is not None and (self._is_first(record) or self._is_last(record)):
            which = "first" if self._is_first(record) else "last"
            return self._new(name, "weight", edge, f"{which} layer")
        return self._free(name, "weight")

    def _is_first(self, record: Record) -> bool:
        return self.grids[record.inputs[0]] in self.start

    def _is_last(self, record: Record) -> bool:
        return self.grids[record.name] == self.end

    def _act(self, grid: str) -> BitWidth:
        members = [
            r for r in self.network.records if self.grids[r.name] == grid and r.kind in GRID_KINDS
        ]
        name = f"a:{grid}"
        bits = self._rule("act", [m.name for m in members] + [m.source for m in members])
        if self.records[grid].kind in UNIT_KINDS:
            kind = self.records[grid].kind
            share = bits is not None and kind == "softmax"
            return self._new(name, "act", bits or 8 if share else 8, f"result of {kind}")
        if bits is not None:
            return self._new(name, "act", bits, "fixed by the user")
        if grid in self.start:
            return self._new(name, "act", 8, "network input")
        if grid in (self.end, self.grids[self.network.output]):
            return self._new(name, "act", 8, "network output")
        readers = [
            r
            for r in self.network.records
            if any(self.grids[i] == grid for i in r.inputs) and r.kind in GRID_KINDS
        ]
        edge = self.options.first_last_bits
        if edge is not None and any(r.kind in WEIGHTED and self._is_last(r) for r in readers):
            return self._new(name, "act", edge, "read by the last layer")
        join = self.options.join_bits
        if join is not None and readers and all(r.kind == "add" for r in readers):
            target = f"join:{readers[0].name}"
            if target not in self.shared:
                self.shared[target] = self._new(target, "act", join, "feeds only an add")
            return self.shared[target]
        return self._free(name, "act")
