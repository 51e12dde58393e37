# SPDX-License-Identifier: Apache-2.0
"""Exact mode: the integer network in PyTorch, every code carried as a whole floating-point number.

Independent of the NumPy simulator: it shares the snapped constants and nothing else. All values
stay below 2^53, so every float64 operation is exact. Codes have 8 bits at most and travel in
float32; an accumulator is summed in float32 where the real weights prove that it, and with it every
partial sum in any order, stays within 2^24.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ..deploy.requant import AddRequant, Requant
from ..deploy.types import IntType
from .classes import first_largest, whole_softmax
from .devices import device_of, whole_sums
from .module import QuantModule
from .operations import apply_weights, bilinear_sum, move, window_sum
from .records import Record
from .rounding import PIECE
from .shrink import kept_index, shrunk
from .snap import Constants, snap_network

FLOAT32_WHOLE = 1 << 24
"""Every whole number up to here is a float32 number."""


class ExactModule(nn.Module):
    """The integer network of a prepared module as it was when this was made.

    ``forward`` takes real inputs and gives real outputs (float64), like the prepared module;
    `codes` gives every tensor's integers.
    """

    def __init__(self, module: QuantModule) -> None:
        super().__init__()
        small = shrunk(module)
        self.network = small.network
        self.constants = snap_network(small)
        self._places = {} if small is module else {
            r.name: (r.channels, kept_index(module, r.name)) for r in module.network.records
        }
        first, last = self.network.records[0].name, self.network.output
        self.input_scale = self.constants[first].scale
        self.output_scale = self.constants[last].scale
        device = device_of(module)
        self._rules = {
            r.name: {k: t.to(device) for k, t in _tensors(r, self.constants, device).items()}
            for r in self.network.records
        }
        self._last_use = {n: i for i, r in enumerate(self.network.records) for n in r.inputs}

    def quantize(self, x: Tensor) -> Tensor:
        """Input codes of a real batch: clamp(floor(x/scale + 0.5)), float64."""
        type_ = self.constants[self.network.records[0].name].type
        if self.network.records[0].attrs.get("sequence"):
            x = x.unsqueeze(2)
        return torch.floor(x.double() / self.input_scale + 0.5).clamp(type_.lo, type_.hi)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Real outputs: output codes times their scale."""
        codes = self._run(self.quantize(x).float(), False)[self.network.output]
        result = codes.double() * self.output_scale
        return self.network.shaped(result)

    @torch.no_grad()
    def codes(self, x: Tensor) -> dict[str, Tensor]:
        """Every record's codes (float64 whole numbers, PyTorch layout) for a real batch.

        Channels that are pruned hold zeros.
        """
        return self.codes_from_codes(self.quantize(x))

    @torch.no_grad()
    def values(self, x: Tensor) -> dict[str, Tensor]:
        """Every record's real values (float32) for a real batch."""
        codes = self._run(self.quantize(x).float(), True)
        # one rounding: the scale is a float32 number
        return {
            name: self._full(name, code * self.constants[name].scale)
            for name, code in codes.items()
        }

    @torch.no_grad()
    def codes_from_codes(self, codes: Tensor) -> dict[str, Tensor]:
        """The same for a batch of input codes in PyTorch layout."""
        found = self._run(codes.float(), True)
        return {name: self._full(name, code.double()) for name, code in found.items()}

    def _full(self, name: str, x: Tensor) -> Tensor:
        """A tensor with pruned channels put back as zeros."""
        if name not in self._places or self._places[name][0] == x.shape[1]:
            return x
        channels, index = self._places[name]
        full = x.new_zeros(len(x), channels, *x.shape[2:])
        full[:, index] = x
        return full

    def _run(self, codes: Tensor, keep: bool) -> dict[str, Tensor]:
        with whole_sums(codes.device):
            return self._all(codes, keep)

    def _all(self, codes: Tensor, keep: bool) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {self.network.records[0].name: codes}
        for i, record in enumerate(self.network.records[1:], start=1):
            values[record.name] = self._step(record, [values[n] for n in record.inputs])
            for name in set(record.inputs):
                if not keep and self._last_use[name] == i and name != self.network.output:
                    del values[name]
        return values

    def _step(self, record: Record, inputs: list[Tensor]) -> Tensor:
        moved = move(record, inputs)
        if moved is not None:
            return moved
        rule, constants = self._rules[record.name], self.constants[record.name]
        match record.kind:
            case "pointwise":
                return _looked_up(rule["table"], inputs[0], self.constants[record.inputs[0]].type)
            case "softmax":
                return whole_softmax(inputs[0], rule["table"], constants.type.bits).float()
            case "argmax":
                return first_largest(inputs[0])
            case "add":
                add = constants.add
                assert add is not None
                return _in_pieces(inputs, lambda *parts: _add(add, parts))
            case "avgpool2d":
                acc = window_sum(record, inputs[0])
            case "affine":
                acc = inputs[0]
            case "mul":
                acc = inputs[0] * inputs[1]
            case "upsample_bilinear":
                acc = bilinear_sum(record, inputs[0].double(), (rule["rows"], rule["columns"]))
            case _:
                acc = apply_weights(
                    record, inputs[0].to(rule["weight"].dtype), rule["weight"], None
                )
        requant = constants.requant
        assert requant is not None
        shape = (1, -1, *[1] * (acc.dim() - 2))
        shaped = {k: rule[k].reshape(shape) for k in ("m", "s", "z", "bias")}
        return _in_pieces([acc], lambda part: _requantise(requant, shaped, part))


def _in_pieces(tensors: list[Tensor], run: Callable[..., Tensor]) -> Tensor:
    """``run`` over groups of samples that fit the cache; whole codes in float32."""
    like = tensors[0]
    out = torch.empty_like(like, dtype=torch.float32)
    count = len(like)
    if like.device.type == "cpu" and count:
        count = max(1, PIECE * torch.get_num_threads() * count // max(like.numel(), 1))
    for *parts, result in zip(
        *(torch.split(t, max(count, 1)) for t in (*tensors, out)), strict=True
    ):
        result.copy_(run(*parts))
    return out


def _requantise(requant: Requant, rule: dict[str, Tensor], acc: Tensor) -> Tensor:
    """The rule of decision 0001 in float64."""
    t = acc.to(torch.float64, copy=True).mul_(2.0**requant.p).add_(rule["bias"])
    t.mul_(rule["m"]).add_(rule["s"] / 2).div_(rule["s"]).floor_().add_(rule["z"])
    return t.clamp_(requant.lo, requant.hi)


def _add(add: AddRequant, parts: tuple[Tensor, ...]) -> Tensor:
    """The rule of additions in float64."""
    total = torch.full_like(parts[0], float(add.bias), dtype=torch.float64)
    for factor, x in zip(add.m, parts, strict=True):
        total.add_(x.double(), alpha=float(factor))
    return (
        total.add_(2.0 ** (add.s - 1)).div_(2.0**add.s).floor_().add_(add.z).clamp_(add.lo, add.hi)
    )


def _tensors(
    record: Record, network: dict[str, Constants], device: torch.device
) -> dict[str, Tensor]:
    """Constants as float64 tensors; ``s`` as the power of two."""
    constants = network[record.name]
    rule: dict[str, Tensor] = {}
    if constants.table is not None:
        rule["table"] = torch.from_numpy(constants.table.astype(np.float64))
    if constants.matrices is not None:
        for name, matrix in zip(("rows", "columns"), constants.matrices, strict=True):
            rule[name] = torch.from_numpy(matrix.astype(np.float64))
    if constants.requant is not None:
        requant = constants.requant
        rule |= {
            "m": torch.from_numpy(requant.m.astype(np.float64)),
            "s": torch.from_numpy(np.ldexp(1.0, requant.s)),
            "z": torch.from_numpy(requant.z.astype(np.float64)),
            "bias": torch.from_numpy(requant.bias.astype(np.float64)),
        }
    if constants.codes is not None:
        grid = constants.step * constants.codes + constants.offset
        source = network[record.inputs[0]].type
        rows = np.abs(grid).reshape(len(grid), -1).sum(axis=1)
        bound = int(rows.max(initial=0)) * max(-source.lo, source.hi)
        # a GPU's float32 matrix products may round their inputs
        narrow = bound <= FLOAT32_WHOLE and device.type == "cpu"
        kind = np.float32 if narrow else np.float64
        rule["weight"] = torch.from_numpy(grid.astype(kind))
    return rule


def _looked_up(table: Tensor, codes: Tensor, type_: IntType) -> Tensor:
    """Entries ``[1 or C, 2^bits]`` of codes whose channels are on axis 1."""
    index = (codes - type_.lo).long()
    if len(table) == 1:
        return table[0][index]
    rows = torch.arange(len(table), device=codes.device).reshape(1, -1, *[1] * (codes.dim() - 2))
    return table[rows, index]


def exact(module: QuantModule) -> ExactModule:
    """The integer network of a prepared, calibrated module.

    Raises:
        UnsupportedError: scales that the integer rule cannot express.
    """
    return ExactModule(module)
