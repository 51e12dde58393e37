# SPDX-License-Identifier: Apache-2.0
"""The common form of a network's operations, with the rules each must keep to be expressible."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any

from torch import fx

from .records import BatchNorm

Shape = tuple[int, ...]


class Unsupported(Exception):
    """``found; supported; what to do`` of one node; collected by the capture."""


@dataclass
class Call:
    """One node, read but not yet fused."""

    kind: str
    inputs: list[fx.Node]
    attrs: dict[str, Any] = field(default_factory=dict)
    weight: str | None = None
    bias: str | None = None
    bn: BatchNorm | None = None
    clamp: tuple[float, float] = (-inf, inf)


def real_shape(node: Any) -> Shape | None:
    """Shape with the batch, or None where the node is no tensor."""
    meta = node.meta.get("tensor_meta") if isinstance(node, fx.Node) else None
    shape = getattr(meta, "shape", None)
    return None if shape is None else tuple(shape)


def is_sequence(node: Any) -> bool:
    """Whether a node is a sequence N x C x L, which counts as a map N x C x 1 x L."""
    shape = real_shape(node)
    return shape is not None and len(shape) == 3


def shape_of(node: fx.Node) -> Shape | None:
    """Shape with the batch, of sequences as maps; None where the node is no tensor."""
    shape = real_shape(node)
    return (*shape[:2], 1, shape[2]) if shape is not None and len(shape) == 3 else shape


def pair(value: Any) -> tuple[int, int]:
    """An int or a pair as a pair."""
    if isinstance(value, int):
        return value, value
    values = tuple(int(v) for v in value)
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def along(value: Any, sequence: bool, first: int = 1) -> tuple[int, int]:
    """A pair of (vertical, horizontal) numbers; of a sequence only the second is given."""
    if not sequence:
        return pair(value)
    return first, int(value) if isinstance(value, int) else int(tuple(value)[-1])


def bind(node: fx.Node, signature: str) -> dict[str, Any]:
    """Arguments by name; ``signature`` lists ``name`` or ``name=default`` separated by blanks."""
    bound: dict[str, Any] = {}
    names = []
    for item in signature.split():
        name, _, default = item.partition("=")
        names.append(name)
        if default:
            bound[name] = {"None": None, "True": True, "False": False}.get(
                default, float(default) if default.lstrip("-").replace(".", "").isdigit() else None
            )
    if len(node.args) > len(names):
        raise Unsupported(
            f"{node.target} with {len(node.args)} arguments; {len(names)} are read; "
            "use the module form"
        )
    bound.update(zip(names, node.args, strict=False))
    for name, value in node.kwargs.items():
        bound["dim" if name == "axis" else name] = value
    return bound


def parameter_path(node: Any) -> str | None:
    """Path of a parameter read by a functional call."""
    if node is None:
        return None
    if isinstance(node, fx.Node) and node.op == "get_attr":
        return str(node.target)
    raise Unsupported(
        "a weight or bias that is computed; parameters of the module are supported; "
        "compute it once and store it as a parameter"
    )


def make_linear(inp: fx.Node, weight: str | None, bias: str | None) -> Call:
    """A linear layer on N x F."""
    shape = shape_of(inp)
    if shape is None or len(shape) != 2:
        raise Unsupported(
            f"a linear layer on a tensor of shape {shape}; N x F is supported; flatten before it"
        )
    return Call("linear", [inp], {}, weight, bias)


def make_clamp(inp: fx.Node, low: Any, high: Any) -> Call:
    """A clamp to constant limits."""
    if isinstance(low, fx.Node) or isinstance(high, fx.Node):
        raise Unsupported("a clamp to tensors; constant limits are supported; use numbers")
    limits = (-inf if low is None else float(low), inf if high is None else float(high))
    return Call("clamp", [inp], clamp=limits)


def make_batch_norm(inp: fx.Node, bn: BatchNorm) -> Call:
    """A batch normalisation."""
    return Call("batchnorm", [inp], bn=bn)


def first_input(n: fx.Node) -> fx.Node:
    """The tensor a node reads first."""
    inp = n.args[0] if n.args else n.kwargs.get("input")
    assert isinstance(inp, fx.Node)
    return inp


def identifier(name: str) -> str:
    """A record name that is a plain ASCII identifier, as the emitted code needs it."""
    text = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name)
    return text if text and not text[0].isdigit() else f"n{text}"


def called(node: fx.Node) -> str:
    """What a node calls, in words: ``method expand``, ``function layer_norm``, ``module rnn``."""
    target = node.target
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    if node.op == "call_function":
        name = name.partition(".")[0]  # the overload of an ATen operator
    return f"{node.op.removeprefix('call_')} {name}"


def is_tensor_tuple(node: fx.Node) -> bool:
    """Whether a node gives several tensors."""
    meta = node.meta.get("tensor_meta")
    return isinstance(meta, tuple | list) and any(hasattr(m, "shape") for m in meta)


SUPPORTED = (
    "convolutions, linear, batch norm, pointwise functions, pooling, add, sub, mul, concat, split, "
    "slice, pad, permute, channel shuffle, upsampling, flatten, softmax and argmax"
)
