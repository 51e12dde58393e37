# SPDX-License-Identifier: Apache-2.0
"""Operations of several tensors: sums, products, concats; and changes of shape."""

from __future__ import annotations

import math
from typing import Any

from torch import fx

from .constants import Numbers, apply, is_constant, numbers
from .nodes import Call, Unsupported, is_sequence, real_shape, shape_of


def make_sum(node: fx.Node, a: Any, b: Any, alpha: Any, sign: int) -> Call:
    """A sum or difference of two computed tensors, or of one and constants."""
    if alpha not in (None, 1, 1.0):
        raise Unsupported("an addition with alpha; alpha 1 is supported; scale the branch before")
    behind, front = numbers(b, a), numbers(a, b)
    if behind is not None and _computed(a):
        return _affine(a, 1.0, apply(lambda v: sign * v, behind))
    if front is not None and _computed(b):
        return _affine(b, float(sign), front)
    _both(node, a, b, "an addition")
    if shape_of(a) != shape_of(b):
        raise Unsupported(
            f"an addition of shapes {shape_of(a)} and {shape_of(b)}; equal shapes "
            "are supported; expand before adding"
        )
    return Call("add", [a, b], {"signs": (1, sign)})


def make_product(node: fx.Node, a: Any, b: Any) -> Call:
    """A product of two computed tensors, one of which may have one value per channel or pixel."""
    for value, other in ((b, a), (a, b)):
        number = numbers(value, other)
        if number is not None and _computed(other):
            return _affine(other, number, 0.0)
    _both(node, a, b, "a product")
    first, second = shape_of(a), shape_of(b)
    assert first is not None and second is not None
    if math.prod(second) > math.prod(first):
        a, b, first, second = b, a, second, first
    allowed = {first, (*first[:2], *[1] * (len(first) - 2)), (first[0], 1, *first[2:])}
    if second not in allowed or is_sequence(a) != is_sequence(b):
        raise Unsupported(
            f"a product of shapes {first} and {second}; equal shapes, one value per channel and one"
            " per pixel are supported; expand before"
        )
    return Call("mul", [a, b])


def make_quotient(node: fx.Node, a: Any, b: Any) -> Call:
    """Division by a number, or by one per channel."""
    number = numbers(b, a)
    zero = number is not None and 0.0 in (number if isinstance(number, tuple) else (number,))
    if number is None or zero or not _computed(a):
        raise Unsupported("a division by a tensor; division by a number is supported; use one")
    return _affine(a, apply(lambda v: 1.0 / v, number), 0.0)


def _affine(inp: fx.Node, factor: Numbers, shift: Numbers) -> Call:
    return Call("pointwise", [inp], {"function": "affine", "factor": factor, "shift": shift})


def _computed(value: Any) -> bool:
    tensor = isinstance(value, fx.Node) and value.op != "get_attr" and shape_of(value) is not None
    return tensor and not is_constant(value)


def _both(node: fx.Node, a: Any, b: Any, what: str) -> None:
    if not (_computed(a) and _computed(b)):
        raise Unsupported(
            f"{what} of a constant tensor; computed tensors, numbers and buffers of one number per "
            "channel are supported; put the constant into a bias or a BatchNorm"
        )


def make_extremum(node: fx.Node, a: Any, b: Any, largest: int) -> Call:
    """The larger or smaller of two computed tensors, or a clamp by a number."""
    for value, other in ((b, a), (a, b)):
        number = numbers(value, other)
        if isinstance(number, float) and _computed(other):
            limits = (number, math.inf) if largest else (-math.inf, number)
            return Call("clamp", [other], clamp=limits)
    _both(node, a, b, "a maximum or minimum")
    if shape_of(a) != shape_of(b):
        raise Unsupported(
            f"a maximum or minimum of shapes {shape_of(a)} and {shape_of(b)}; equal shapes are "
            "supported; expand before"
        )
    return Call("extremum", [a, b], {"largest": largest})


def make_concat(bound: dict[str, Any]) -> Call:
    """A concat along channels."""
    tensors = list(bound["tensors"])
    rank = len(real_shape(tensors[0]) or ())
    if int(bound.get("dim") or 0) % max(rank, 1) != 1:
        raise Unsupported(
            f"a concat along dimension {bound.get('dim')}; channels (1) are "
            "supported; permute outside the network"
        )
    return Call("concat", tensors)


def make_reshape(node: fx.Node, inp: fx.Node) -> Call:
    """A flatten, its reverse for single pixels, or nothing at all, told from the shapes."""
    shape, out = shape_of(inp), shape_of(node)
    if shape is not None and out is not None:
        if shape == out:
            return Call("identity", [inp])
        count = math.prod(shape[1:])
        pixel = out == (shape[0], count, 1, 1) and math.prod(shape[2:]) == 1
        if out == (shape[0], count) or pixel:
            return Call("flatten", [inp])
    raise Unsupported(
        f"a reshape from {shape} to {out}; flattening all but the batch is "
        "supported; reshape outside the network"
    )
