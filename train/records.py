# SPDX-License-Identifier: Apache-2.0
"""The normalised form of a network: a flat list of records, one per node of the integer graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

NO_CLAMP = (-inf, inf)

WEIGHTED = ("conv2d", "conv_transpose2d", "linear")
"""Kinds with weights."""
GRID_KINDS = (
    "input", *WEIGHTED, "add", "mul", "avgpool2d", "affine", "pointwise", "upsample_bilinear",
    "softmax", "argmax",
)  # fmt: skip
"""Kinds whose output gets a grid of its own; the other kinds pass their input's grid on."""

UNIT_KINDS = ("softmax", "argmax")
"""Kinds whose output has a grid that no data choose: shares of 1, and indices."""


@dataclass(frozen=True)
class BatchNorm:
    """Paths and constants of one batch normalisation; a path may be absent (no affine part)."""

    weight: str | None
    bias: str | None
    mean: str
    var: str
    eps: float
    momentum: float | None
    counter: str | None = None


@dataclass(frozen=True)
class Record:
    """One operation with everything that is fused into it.

    Attributes:
        name: unique; the name of the lowered node.
        kind: input, conv2d, conv_transpose2d, linear, add, mul, concat, extremum, maxpool2d,
            avgpool2d, affine, pointwise, upsample_bilinear, upsample_nearest, pad, slice, shuffle,
            permute, flatten, softmax or argmax (over the channels).
            ``affine`` is a batch normalisation, an activation or a change of grid on its own,
            ``pointwise`` any other function of one value, ``flatten`` any change of shape that
            keeps the order of the features.
        source: module path (and function) in the user's network, for messages.
        inputs: names of the records it reads.
        shape: output shape without the batch, in PyTorch order: (C, H, W) or (F,). Sequences
            (C, L) count as maps (C, 1, L).
        attrs: ``kernel``, ``stride``, ``dilation`` (pairs), ``pad`` (top, left, bottom, right),
            ``groups``, ``divisor``, ``out_pad`` (transposed convolution), ``signs`` (of the terms
            of an add), ``function`` with its numbers (pointwise), ``size`` and ``corners``
            (upsampling), ``start`` and ``step`` (slice), ``axes`` (permute), ``sequence`` (an input
            (C, L)), ``keep`` (argmax keeps its axis), as the kind needs.
        weight: path of the weight parameter.
        bias: path of the bias parameter.
        bn: fused batch normalisation.
        clamp: real range of the fused activation; (0, inf) is ReLU.
    """

    name: str
    kind: str
    source: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    weight: str | None = None
    bias: str | None = None
    bn: BatchNorm | None = None
    clamp: tuple[float, float] = NO_CLAMP

    @property
    def channels(self) -> int:
        """Output channels (or features)."""
        return self.shape[0]

    @property
    def depthwise(self) -> bool:
        """Whether every output channel of this convolution reads one input channel."""
        groups: int = self.attrs.get("groups", 1)
        return self.kind == "conv2d" and groups > 1 and groups == self.attrs["in"]
