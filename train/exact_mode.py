# SPDX-License-Identifier: Apache-2.0
"""Exact mode: the integer network in PyTorch, every code carried as a float64 whole number.

Independent of the NumPy simulator: it shares the snapped constants and nothing else. All values
stay below 2^53, so every operation is exact.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..deploy.types import IntType
from .module import QuantModule
from .operations import apply_weights, bilinear_sum, move, window_sum
from .records import Record
from .snap import Constants, snap_network


class ExactModule(nn.Module):
    """The integer network of a prepared module as it was when this was made.

    ``forward`` takes real inputs and gives real outputs (float64), like the prepared module;
    `codes` gives every tensor's integers.
    """

    def __init__(self, module: QuantModule) -> None:
        super().__init__()
        self.network = module.network
        self.constants = snap_network(module)
        first, last = module.network.records[0].name, module.network.output
        self.input_scale = self.constants[first].scale
        self.output_scale = self.constants[last].scale
        self._rules = {r.name: _tensors(r, self.constants[r.name]) for r in self.network.records}
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
        result = self._run(self.quantize(x), False)[self.network.output] * self.output_scale
        return result.squeeze(2) if self.network.sequence else result

    @torch.no_grad()
    def codes(self, x: Tensor) -> dict[str, Tensor]:
        """Every record's codes (float64 whole numbers, PyTorch layout) for a real batch."""
        return self._run(self.quantize(x), True)

    @torch.no_grad()
    def values(self, x: Tensor) -> dict[str, Tensor]:
        """Every record's real values (float32) for a real batch."""
        return {
            name: (codes * self.constants[name].scale).float()
            for name, codes in self.codes(x).items()
        }

    @torch.no_grad()
    def codes_from_codes(self, codes: Tensor) -> dict[str, Tensor]:
        """The same for a batch of input codes in PyTorch layout."""
        return self._run(codes.double(), True)

    def _run(self, codes: Tensor, keep: bool) -> dict[str, Tensor]:
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
            case "add":
                assert constants.add is not None
                add = constants.add
                total = torch.full_like(inputs[0], float(add.bias))
                for factor, x in zip(add.m, inputs, strict=True):
                    total = total + factor * x
                y = torch.floor((total + 2.0 ** (add.s - 1)) / 2.0**add.s) + add.z
                return y.clamp(add.lo, add.hi)
            case "avgpool2d":
                acc = window_sum(record, inputs[0])
            case "affine":
                acc = inputs[0]
            case "mul":
                acc = inputs[0] * inputs[1]
            case "upsample_bilinear":
                acc = bilinear_sum(record, inputs[0], (rule["rows"], rule["columns"]))
            case _:
                acc = apply_weights(record, inputs[0], rule["weight"], None)
        requant = constants.requant
        assert requant is not None
        shape = (1, -1, *[1] * (acc.dim() - 2))
        m, s, z, bias = (rule[k].reshape(shape) for k in ("m", "s", "z", "bias"))
        t = acc * 2.0**requant.p + bias
        y = torch.floor((t * m + s / 2) / s) + z
        return y.clamp(requant.lo, requant.hi)


def _tensors(record: Record, constants: Constants) -> dict[str, Tensor]:
    """Constants as float64 tensors; ``s`` as the power of two."""
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
        rule["weight"] = torch.from_numpy(grid.astype(np.float64))
    return rule


def _looked_up(table: Tensor, codes: Tensor, type_: IntType) -> Tensor:
    """Entries ``[1 or C, 2^bits]`` of codes whose channels are on axis 1."""
    index = (codes - type_.lo).long()
    if len(table) == 1:
        return table[0][index]
    rows = torch.arange(len(table)).reshape(1, -1, *[1] * (codes.dim() - 2))
    return table[rows, index]


def exact(module: QuantModule) -> ExactModule:
    """The integer network of a prepared, calibrated module.

    Raises:
        UnsupportedError: scales that the integer rule cannot express.
    """
    return ExactModule(module)
