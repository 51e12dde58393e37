# SPDX-License-Identifier: Apache-2.0
"""Captures a network with torch.export and writes its ATen nodes as the calls that readers know.

torch.fx follows a module with symbols in place of tensors and stops where Python asks for a
number; torch.export runs it with shapes, so that branches, loops and arithmetic on sizes are
decided while it runs. The result is the same kind of graph: parameters as ``get_attr`` nodes under
their paths in the module, calls of `torch.nn.functional` and `torch`, and the path of the calling
module in ``meta["source"]``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

Target = Callable[..., Any]
_WINDOW = "self kernel_size stride padding"
_CONV = "input weight bias stride padding dilation groups"
_TRANSPOSED = "input weight bias stride padding output_padding groups dilation"

CALLS: dict[str, tuple[Target, str]] = {
    "conv1d": (F.conv1d, _CONV),
    "conv2d": (F.conv2d, _CONV),
    "conv_transpose1d": (F.conv_transpose1d, _TRANSPOSED),
    "conv_transpose2d": (F.conv_transpose2d, _TRANSPOSED),
    "linear": (F.linear, "input weight bias"),
    "batch_norm": (
        F.batch_norm,
        "input running_mean running_var weight bias training momentum eps",
    ),
    "relu": (F.relu, "self"),
    "relu6": (F.relu6, "self"),
    "hardtanh": (F.hardtanh, "self min_val max_val"),
    "clamp": (torch.clamp, "self min max"),
    "clamp_min": (torch.clamp, "self min"),
    "clamp_max": (torch.clamp, "self min=None max"),
    "max_pool1d": (F.max_pool1d, f"{_WINDOW} dilation ceil_mode"),
    "max_pool2d": (F.max_pool2d, f"{_WINDOW} dilation ceil_mode"),
    "avg_pool1d": (F.avg_pool1d, f"{_WINDOW} ceil_mode count_include_pad"),
    "avg_pool2d": (F.avg_pool2d, f"{_WINDOW} ceil_mode count_include_pad divisor_override"),
    "adaptive_avg_pool1d": (F.adaptive_avg_pool1d, "self output_size"),
    "adaptive_avg_pool2d": (F.adaptive_avg_pool2d, "self output_size"),
    "adaptive_max_pool2d": (F.adaptive_max_pool2d, "self output_size"),
    "view": (torch.reshape, "self size"),
    "reshape": (torch.reshape, "self shape"),
    "flatten": (torch.flatten, "self start_dim end_dim"),
    "squeeze": (torch.squeeze, "self dim"),
    "unsqueeze": (torch.unsqueeze, "self dim"),
    "transpose": (torch.transpose, "self dim0 dim1"),
    "permute": (torch.permute, "self dims"),
    "mean": (torch.mean, "self dim keepdim"),
    "maximum": (torch.maximum, "self other"),
    "minimum": (torch.minimum, "self other"),
    "add": (torch.add, "self other alpha=alpha"),
    "sub": (torch.sub, "self other alpha=alpha"),
    "mul": (torch.mul, "self other"),
    "div": (torch.div, "self other"),
    "pow": (torch.pow, "self exponent"),
    "sigmoid": (torch.sigmoid, "self"),
    "tanh": (torch.tanh, "self"),
    "abs": (torch.abs, "self"),
    "square": (torch.square, "self"),
    "hardswish": (F.hardswish, "self"),
    "hardsigmoid": (F.hardsigmoid, "self"),
    "silu": (F.silu, "self"),
    "mish": (F.mish, "self"),
    "gelu": (F.gelu, "self approximate=approximate"),
    "elu": (F.elu, "self alpha"),
    "selu": (F.selu, "self"),
    "softplus": (F.softplus, "self beta threshold"),
    "leaky_relu": (F.leaky_relu, "self negative_slope"),
    "prelu": (F.prelu, "self weight"),
    "pad": (F.pad, "self pad mode value"),
    "constant_pad_nd": (F.pad, "self pad mode=None value"),
    "slice": (operator.getitem, ""),
    "narrow": (torch.narrow, "self dim start length"),
    "chunk": (torch.chunk, "self chunks dim"),
    "split": (torch.split, "self split_size dim"),
    "split_with_sizes": (torch.split, "self split_sizes dim"),
    "cat": (torch.cat, "tensors dim"),
    "softmax": (torch.softmax, "self dim"),
    "argmax": (torch.argmax, "self dim keepdim"),
    "channel_shuffle": (F.channel_shuffle, "self groups"),
}
"""Function and its arguments by ATen operator; the names are those of the operator's schema."""

SAME = frozenset({
    "dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "contiguous", "clone",
    "detach", "alias", "lift_fresh_copy",
})  # fmt: skip
"""Operators whose result is their input at inference."""
CONSTANTS = frozenset({"ones", "zeros", "full", "arange", "scalar_tensor", "eye"})
"""Operators that make a constant out of numbers."""
SILENT = frozenset({"_assert_tensor_metadata", "_assert_scalar", "_assert_async"})
PAIRS = frozenset({"adaptive_max_pool2d", "max_pool2d_with_indices"})
"""Operators with a second result that nobody reads in the networks of interest."""


def export(model: nn.Module, example: Tensor) -> fx.GraphModule:
    """The graph of ``model`` for inputs of the example's shape.

    Args:
        model: in evaluation mode.
        example: a batch in PyTorch layout.

    Raises:
        Exception: whatever torch.export raises for a network it cannot follow.
    """
    program = torch.export.export(model, (example,))
    signature = program.graph_signature
    paths = {**signature.inputs_to_parameters, **signature.inputs_to_buffers,
             **signature.inputs_to_lifted_tensor_constants}  # fmt: skip
    tensors = {**dict(program.state_dict), **program.constants}
    graph, made = fx.Graph(), {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in paths:
            made[node] = graph.get_attr(paths[node.name]) if node.users else None
        elif node.op == "call_function":
            made[node] = _Writer(graph, made, node, tensors).result()
        else:
            made[node] = graph.node_copy(node, lambda n: made[n])
    outputs = next(node for node in graph.nodes if node.op == "output")
    if len(outputs.args[0]) == 1:
        outputs.args = (outputs.args[0][0],)
    used = {str(n.target): tensors[str(n.target)] for n in graph.nodes if n.op == "get_attr"}
    return fx.GraphModule(used, graph, type(model).__name__)


class _Writer:
    """One ATen node as a call."""

    def __init__(
        self, graph: fx.Graph, made: dict[fx.Node, Any], node: fx.Node, extra: dict[str, Tensor]
    ) -> None:
        self.graph, self.made, self.node, self.extra = graph, made, node, extra
        stack = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
        self.path = str(stack[-1]) if stack else ""
        target: Any = node.target
        schema = getattr(target, "_schema", None)
        self.name = target.__name__.split(".")[0] if schema is None else str(
            schema.name).rpartition(":")[2]  # fmt: skip
        self.in_place = self.name.endswith("_") and not self.name.startswith("_")
        self.name = self.name.rstrip("_") if self.in_place else self.name
        given = fx.node.map_arg((tuple(node.args), dict(node.kwargs)), lambda n: made[n])
        self.args, self.kwargs = given
        self.bound: dict[str, Any] = {}
        if schema is not None:
            names = [argument.name for argument in schema.arguments]
            self.bound = {
                a.name: a.default_value for a in schema.arguments if a.has_default_value()
            }
            self.bound.update(zip(names, self.args, strict=False))
            self.bound.update(self.kwargs)

    def result(self) -> Any:
        """The node of the new graph that holds the result."""
        bound, first = self.bound, self.args[0] if self.args else None
        if self.name in SILENT:
            return None
        if self.name in SAME or (self.name in ("to", "_to_copy") and self._same_type()):
            return first
        if self.name in CONSTANTS and not self.node.all_input_nodes:
            return self._made()
        if self.name == "getitem":
            source = self.node.args[0]
            pair = getattr(source, "target", None)
            if getattr(pair, "__name__", "").split(".")[0] in PAIRS and self.args[1] == 0:
                return first
            return self._call(operator.getitem, self.args)
        if self.name == "slice":
            keys: list[Any] = [slice(None)] * bound["dim"] if bound["dim"] >= 0 else [Ellipsis]
            keys.append(slice(bound["start"], bound["end"], bound["step"]))
            keys += [slice(None)] * (-bound["dim"] - 1)
            return self._call(operator.getitem, (first, tuple(keys)))
        if self.name == "rsub":  # other - self
            turned = self._call(torch.mul, (first, -1.0))
            return self._call(torch.add, (turned, bound["other"]))
        if self.name == "neg":
            return self._call(torch.mul, (first, -1.0))
        if self.name.startswith("upsample_"):
            mode = self.name.removeprefix("upsample_").removesuffix("1d").removesuffix("2d")
            size = self.node.meta["val"].shape[2:]
            corners = bound.get("align_corners")
            factors = bound.get("scale_factors")
            given = {"scale_factor": tuple(factors)} if factors else {"size": tuple(size)}
            return self._call(F.interpolate, (first,), mode=mode, align_corners=corners, **given)
        name = "max_pool2d" if self.name == "max_pool2d_with_indices" else self.name
        if name not in CALLS:
            return self._call(self.node.target, self.args, **self.kwargs)
        target, signature = CALLS[name]
        args: list[Any] = []
        named = {}
        for item in signature.split():
            key, keyword, source = item.partition("=")
            if source == "None":
                args.append(None)
            elif keyword:
                named[key] = bound[source]
            else:
                args.append(bound.get(item))
        return self._call(target, tuple(args), **named)

    def _made(self) -> fx.Node:
        """A constant that forward makes, as a tensor of the graph."""
        with torch.no_grad():
            self.extra[self.node.name] = self.node.target(*self.args, **self.kwargs)  # type: ignore[operator]
        return self.graph.get_attr(self.node.name)

    def _same_type(self) -> bool:
        before, after = self.node.args[0], self.node
        found = [n.meta["val"].dtype for n in (before, after) if isinstance(n, fx.Node)]
        return len(set(found)) == 1

    def _call(self, target: Any, args: tuple[Any, ...], **kwargs: Any) -> fx.Node:
        label = self.node.name
        leaf = self._leaf()
        made = self.graph.create_node(
            "call_function", target, args, kwargs, self.path.replace(".", "_") if leaf else label
        )
        made.meta["source"] = self.path if leaf else (
            f"{self.path}.{self.name}" if self.path else self.name)  # fmt: skip
        made.meta["in_place"] = self.in_place
        return made

    def _leaf(self) -> bool:
        """Whether a module of torch.nn, which is this one operation, makes the call."""
        stack = list((self.node.meta.get("nn_module_stack") or {}).values())
        if not stack or not self.path:
            return False
        kind = stack[-1][1]
        name = kind if isinstance(kind, str) else kind.__module__
        return str(name).startswith("torch.nn.modules.")
