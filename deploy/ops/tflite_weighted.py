# SPDX-License-Identifier: Apache-2.0
"""Convolution, depthwise convolution and linear layer with TFLite's requantisation.

The sums are those of ``conv2d``, ``depthwise_conv2d`` and ``linear``; only the rule that turns an
accumulator into a code differs (`adaqat.deploy.tflite_rule`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...hw_models.work import Work, conv2d_work, depthwise_conv2d_work, linear_work
from ..requant import Exact
from ..tflite_rule import WIDE, WIDE_LIMIT, TfliteRequant, rounding_helpers, short_multiplier
from ..types import IntArray, IntType
from .base import INT32_MAX, Bound, CArray, CPlan, Helper, TensorInfo, Window, need
from .conv2d import conv_shape, conv_sums, conv_values
from .depthwise_conv2d import depthwise_sums, depthwise_values
from .linear import linear_values
from .weighted import CodedOp, Weights, accumulator_bounds, exact_matmul, product_reach


@dataclass(frozen=True, eq=False)
class TfliteWeightedOp(CodedOp):
    """An operator with weights and TFLite's rule.

    Attributes:
        weights: the codes.
        requant: constants per output channel.
        out_type: type of the output codes.
    """

    weights: Weights
    requant: TfliteRequant
    out_type: IntType
    kind: ClassVar[str] = ""
    widest: ClassVar[int] = 16

    def sums(self, x: IntArray) -> Exact:
        """Accumulators without bias, output channels last."""
        raise NotImplementedError

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """Sums, then the rule."""
        return self.requant.apply(self.sums(inputs[0]).astype(np.int64))

    def long_sums(self, type_: IntType) -> bool:
        """Whether sums of products need 64 bits; only the wide roundings have room for them."""
        found = self.weights.bounds(type_)
        return self.requant.rounding in WIDE and any(b.magnitude > b.limit for b in found)

    def bounds(self, inputs: Sequence[TensorInfo]) -> list[Bound]:
        """Every integer the emitted code forms, at its worst."""
        type_ = inputs[0].type
        low, high = accumulator_bounds(self.weights.values, type_)
        if self.requant.rounding in WIDE:
            ends = np.stack([low, high]) + self.requant.bias
            limit = WIDE_LIMIT if self.long_sums(type_) else INT32_MAX
            row = self.weights.rows().shape[1]
            return [
                *(replace(bound, limit=limit) for bound in self.weights.bounds(type_)),
                Bound("sum of inputs", row * max(abs(type_.lo), abs(type_.hi))),
                Bound("biased accumulator", int(np.abs(ends).max(initial=0)), WIDE_LIMIT),
                Bound("scaled accumulator", self.requant.reach(low, high)),
            ]
        return [
            *self.weights.bounds(type_),
            Bound("biased and scaled accumulator", self.requant.reach(low, high)),
        ]

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """Broken rules of weights and requantiser."""
        found = self.weights.problems() + self.requant.problems()
        if self.requant.lo < self.out_type.lo or self.requant.hi > self.out_type.hi:
            found.append(f"clamp outside the output type {self.out_type}")
        return found

    def plan(
        self,
        inputs: Sequence[TensorInfo],
        values: dict[str, object],
        helper: Helper,
        scratch: int = 0,
    ) -> CPlan:
        """The plan shared by all three: ``values`` with the rule's constants added."""
        rule = self.requant
        short = rule.rounding == "short"
        large = bool(np.abs(rule.bias).max(initial=0) > INT32_MAX)
        m = short_multiplier(rule.m) if short else rule.m
        arrays = [
            CArray(name, c_type, tuple(int(v) for v in array), note)
            for name, c_type, array, note in (
                ("bias", "int64_t" if large else "int32_t", rule.bias, "added to the accumulator"),
                ("m", "int16_t" if short else "int32_t", m, "multiplier per channel"),
                ("shift", "int8_t", rule.shift, "shift per channel"),
            )
        ]
        if self.long_sums(inputs[0].type):
            values = {**values, "acc": "int64_t"}
        return CPlan(
            self.kind,
            {**values, "rounding": rule.rounding, "zero": rule.z, "lo": rule.lo, "hi": rule.hi},
            (self.weights.packed(), *arrays),
            (*rounding_helpers(rule.rounding), helper),
            scratch,
            tuple(f"|{b.what}| <= {b.magnitude}" for b in self.bounds(inputs)),
        )


def _check_length(op: TfliteWeightedOp) -> None:
    need(
        len(op.requant.m) == op.weights.codes.shape[0],
        f"{op.kind}: {len(op.requant.m)} requantisation constants for"
        f" {op.weights.codes.shape[0]} channels; one per output channel is needed",
    )


@dataclass(frozen=True, eq=False)
class TfliteConv2d(TfliteWeightedOp):
    """`Conv2d` with TFLite's rule.

    Attributes:
        window: geometry.
        groups: channel groups.
        pad_value: code outside the image, the zero point of the input.
    """

    window: Window
    groups: int = 1
    pad_value: int = 0
    kind: ClassVar[str] = "tflite_conv2d"

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """(OH, OW, OC) and the output type."""
        _check_length(self)
        codes = self.weights.codes
        return conv_shape(self.kind, codes, inputs[0], self.window, self.groups), self.out_type

    def sums(self, x: IntArray) -> Exact:
        """See `conv_sums`."""
        return conv_sums(x, self.weights.narrow, self.window, self.groups, self.pad_value)

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """The convolution's counts under this kind."""
        a, b, w = inputs[0].shape, output.shape, self.window
        return replace(conv2d_work(
            (a[0], a[1], a[2]), (b[0], b[1], b[2]), w.kernel, w.stride, w.dilation, w.pad,
            self.groups, self.weights.bits, inputs[0].type.bits, inputs[0].type.signed,
        ), kind=self.kind)  # fmt: skip

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the column gather and the dot products."""
        values, scratch = conv_values(
            self.weights, self.window, self.groups, self.pad_value, inputs[0], output
        )
        type_ = inputs[0].type
        wide = self.long_sums(type_)
        values = {**values, "tag": self.weights.dot_tag(type_, wide)}
        return self.plan(inputs, values, self.weights.dot_helper(type_, wide), scratch)


@dataclass(frozen=True, eq=False)
class TfliteDepthwiseConv2d(TfliteWeightedOp):
    """`DepthwiseConv2d` with TFLite's rule; attributes as there."""

    window: Window
    pad_value: int = 0
    kind: ClassVar[str] = "tflite_depthwise_conv2d"

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """(OH, OW, OC) and the output type."""
        _check_length(self)
        codes, groups = self.weights.codes, inputs[0].shape[-1]
        return conv_shape(self.kind, codes, inputs[0], self.window, groups), self.out_type

    def sums(self, x: IntArray) -> Exact:
        """See `depthwise_sums`."""
        return depthwise_sums(x, self.weights.narrow, self.window, self.pad_value)

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """The convolution's counts under this kind."""
        a, b, w = inputs[0].shape, output.shape, self.window
        return replace(depthwise_conv2d_work(
            (a[0], a[1], a[2]), (b[0], b[1], b[2]), w.kernel, w.stride, w.dilation, w.pad,
            self.weights.bits, inputs[0].type.bits, inputs[0].type.signed,
        ), kind=self.kind)  # fmt: skip

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the per-channel loops."""
        values, unpack = depthwise_values(
            self.weights, self.window, self.pad_value, inputs[0], output
        )
        return self.plan(inputs, values, unpack)


@dataclass(frozen=True, eq=False)
class TfliteLinear(TfliteWeightedOp):
    """`Linear` with TFLite's rule."""

    kind: ClassVar[str] = "tflite_linear"

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """(O,) and the output type."""
        _check_length(self)
        codes, shape = self.weights.codes, inputs[0].shape
        need(
            len(shape) == 1 and codes.ndim == 2 and codes.shape[1] == shape[0],
            f"{self.kind}: input shape {shape}, weights {codes.shape}; (I,) and OI are supported;"
            " flatten before it",
        )
        return (int(codes.shape[0]),), self.out_type

    def sums(self, x: IntArray) -> Exact:
        """One exact matrix product."""
        values = self.weights.narrow
        return exact_matmul(x, values, product_reach(values, x))

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work:
        """The linear layer's counts under this kind."""
        type_ = inputs[0].type
        return replace(linear_work(
            inputs[0].size, output.size, self.weights.bits, type_.bits, type_.signed
        ), kind=self.kind)  # fmt: skip

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
        """Literals of the row loop."""
        values, scratch = linear_values(self.weights, inputs[0])
        type_ = inputs[0].type
        wide = self.long_sums(type_)
        values = {**values, "tag": self.weights.dot_tag(type_, wide)}
        return self.plan(inputs, values, self.weights.dot_helper(type_, wide), scratch)
