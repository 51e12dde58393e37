# SPDX-License-Identifier: Apache-2.0
"""Operations that move or repeat values: slices, splits, padding, upsampling, channel shuffle."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from .nodes import Call, Unsupported, is_sequence, is_tensor_tuple, real_shape, shape_of

SPLITS = {torch.chunk, torch.split, torch.tensor_split, "chunk", "split", "tensor_split"}


def is_split(node: Any) -> bool:
    """Whether a node cuts a tensor into several, which `make_item` reads one by one."""
    return isinstance(node, fx.Node) and node.op.startswith("call") and node.target in SPLITS


def is_told(node: Any) -> bool:
    """Whether a node picks a result of one with several outputs, which itself is the obstacle."""
    if node.op != "call_function" or node.target is not operator.getitem:
        return False
    return is_tensor_tuple(node.args[0]) and not is_split(node.args[0])


def _axis(node: fx.Node, axis: int) -> int:
    """An axis of the real tensor as an axis of the map; 0 is the batch."""
    shape = real_shape(node)
    assert shape is not None
    axis %= len(shape)
    return 3 if len(shape) == 3 and axis == 2 else axis


def make_item(node: fx.Node) -> Call:
    """A part of a split, or a slice written with brackets."""
    source, index = node.args[0], node.args[1]
    assert isinstance(source, fx.Node)
    if is_split(source):
        return _part(source, index)
    keys = list(index) if isinstance(index, tuple) else [index]
    shape = real_shape(source)
    if shape is None:
        raise Unsupported(
            "an index into a result that is no tensor; tensors are supported; split the network"
        )
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (len(shape) - len(keys) + 1)
    if any(not isinstance(key, slice) for key in keys):
        raise Unsupported(
            "an index that drops or gathers positions; slices start:stop:step are supported; "
            "use slices and flatten"
        )
    start, step = [0, 0, 0], [1, 1, 1]
    for axis, part in enumerate(keys):
        key: Any = part
        if any(isinstance(v, fx.Node) for v in (key.start, key.stop, key.step)):
            raise Unsupported("a computed slice; constant limits are supported; use numbers")
        first, last, by = key.indices(shape[axis])
        if axis == 0:
            if (first, last, by) != (0, shape[0], 1):
                raise Unsupported("a slice of the batch; the other axes are supported; remove it")
            continue
        if by < 1:
            raise Unsupported("a slice that runs backwards; positive steps are supported")
        start[_axis(source, axis) - 1], step[_axis(source, axis) - 1] = first, by
    return _slice(source, start, step)


def _slice(source: fx.Node, start: list[int], step: list[int]) -> Call:
    rank = len(shape_of(source) or ()) - 1
    if rank not in (1, 3):
        raise Unsupported("a slice of a tensor of another rank; N x C x H x W, N x C x L and N x F"
                          " are supported; reshape outside the network")  # fmt: skip
    return Call("slice", [source], {"start": tuple(start[:rank]), "step": tuple(step[:rank])})


def _part(split: fx.Node, index: Any) -> Call:
    source = split.args[0]
    parts = split.meta.get("tensor_meta")
    assert isinstance(source, fx.Node) and isinstance(parts, tuple | list)
    axis = split.kwargs.get("dim", split.args[2] if len(split.args) > 2 else 0)
    shape = real_shape(source)
    assert shape is not None and isinstance(axis, int) and isinstance(index, int)
    if axis % len(shape) == 0:
        raise Unsupported("a split of the batch; the other axes are supported; remove it")
    before = sum(part.shape[axis] for part in list(parts)[: index % len(parts)])
    start = [0, 0, 0]
    start[_axis(source, axis) - 1] = before
    return _slice(source, start, [1, 1, 1])


def make_narrow(source: fx.Node, axis: int, start: int) -> Call:
    """``narrow``: a slice along one axis."""
    starts = [0, 0, 0]
    starts[_axis(source, axis) - 1] = start
    return _slice(source, starts, [1, 1, 1])


def make_pad(source: fx.Node, pads: Any, mode: Any, value: Any) -> Call:
    """Zeros around H and W (or L), given innermost axis first as in torch."""
    shape = shape_of(source)
    if mode not in (None, "constant") or value not in (None, 0, 0.0):
        raise Unsupported(
            f"padding mode {mode!r} with value {value!r}; constant zeros are supported; use zero"
            " padding"
        )
    if any(not isinstance(v, int) for v in pads) or shape is None or len(shape) != 4:
        raise Unsupported("padding of another tensor; maps and constant sizes are supported")
    if is_sequence(source) and len(pads) > 2 and any(pads[2:]):
        raise Unsupported("padding of channels of a sequence; its length is supported")
    left, right, top, bottom, *rest = [*pads, 0, 0, 0, 0][:6] if len(pads) > 2 else [*pads, 0, 0]
    front, back = rest if rest else (0, 0)
    if min(left, right, top, bottom, front, back) < 0:
        raise Unsupported("negative padding; sizes from 0 are supported; use a slice")
    attrs = {"pad": (top, left, bottom, right), "channels": (front, back)}
    return Call("pad", [source], attrs)


def make_upsample(
    source: fx.Node, out: tuple[int, ...] | None, mode: Any, corners: Any, factor: Any
) -> Call:
    """Nearest or bilinear upsampling to a fixed size."""
    shape = shape_of(source)
    if shape is None or out is None or len(shape) != 4 or len(out) != 4:
        raise Unsupported("upsampling of another tensor; maps and sequences are supported")
    if mode not in ("nearest", "bilinear", "linear"):
        raise Unsupported(
            f"upsampling mode {mode!r}; nearest and bilinear are supported; choose one of them"
        )
    size = (out[2], out[3])
    factors = factor if isinstance(factor, tuple | list) else (factor, factor)
    if factor is not None and not corners and any(
        wanted is not None and old > 1 and new != old * wanted
        for new, old, wanted in zip(size[-len(factors):], shape[-len(factors):], factors,
                                    strict=True)
    ):  # fmt: skip
        raise Unsupported(
            f"scale factor {factor} from {shape[2:]} to {size}; factors that give whole sizes are"
            " supported; pass size= instead"
        )
    if mode == "nearest":
        return Call("upsample_nearest", [source], {"size": size})
    return Call("upsample_bilinear", [source], {"size": size, "corners": bool(corners)})


def make_permute(node: fx.Node, source: fx.Node, axes: list[int]) -> Call:
    """Another order of the axes behind the batch; ``axes`` counts the batch as 0."""
    shape = real_shape(source)
    if shape is None or len(shape) not in (2, 3, 4) or axes[0] != 0:
        raise Unsupported(
            f"axes {axes} of a tensor of shape {shape}; those behind the batch of N x C x H x W and"
            " N x C x L are supported; leave the batch in front"
        )
    if axes == sorted(axes):
        return Call("identity", [source])
    if len(shape) == 3:  # (C, L) counts as (C, 1, L)
        return Call("permute", [source], {"axes": (2, 1, 0)})
    return Call("permute", [source], {"axes": tuple(axis - 1 for axis in axes[1:])})


def read_permute(node: fx.Node) -> Call:
    """``permute``, ``transpose`` and ``swapaxes``."""
    source, *rest = node.args
    assert isinstance(source, fx.Node)
    rank = len(real_shape(source) or ())
    values: list[Any] = [*rest, *node.kwargs.values()]
    given = values[0] if len(values) == 1 and isinstance(values[0], tuple | list) else values
    if not rank or any(not isinstance(v, int) for v in given):
        raise Unsupported("computed axes; constant axes are supported; use numbers")
    axes = [int(v) % rank for v in given]
    name = node.target if isinstance(node.target, str) else node.target.__name__
    if name != "permute":
        first, second = axes
        axes = list(range(rank))
        axes[first], axes[second] = second, first
    return make_permute(node, source, axes)


def make_shuffle(source: fx.Node, groups: int) -> Call:
    """A channel shuffle."""
    return Call("shuffle", [source], {"groups": int(groups)})


ITEM = {operator.getitem: make_item}
"""The bracket operator."""

INTERPOLATE = {F.interpolate, F.upsample}
