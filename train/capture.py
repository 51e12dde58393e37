# SPDX-License-Identifier: Apache-2.0
"""Captures a network as records: trace, read every node, fuse, report all problems at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..deploy.errors import UnsupportedError
from .constants import apply, is_constant, plain_normalize
from .exported import export
from .moves import is_split, is_told
from .nodes import Call, Unsupported, called, identifier, is_sequence, is_tensor_tuple, shape_of
from .read_call import read_node
from .records import GRID_KINDS, NO_CLAMP, UNIT_KINDS, WEIGHTED, Record
from .shuffles import find_shuffles
from .traced import run_once, shaped


@dataclass(frozen=True)
class Network:
    """The records in execution order, the first being the input, and the output's name."""

    records: tuple[Record, ...]
    output: str
    sequence: bool = False
    """The user's output is N x C x L, which the records hold as N x C x 1 x L."""
    dropped: bool = False
    """The user's output has no axis for the channels: an argmax without keepdim."""

    def shaped(self, result: Tensor) -> Tensor:
        """A result of the records in the user's shape."""
        result = result.squeeze(2) if self.sequence else result
        return result.squeeze(1) if self.dropped else result


def capture(model: nn.Module, example_input: Tensor) -> Network:
    """Trace ``model`` and return its fused records.

    torch.fx is asked first. What it cannot follow (branches and loops over sizes, unpacked shapes)
    or leaves unreadable is captured by torch.export, with every size of the example.

    Args:
        model: any module built from the supported modules, functions and methods.
        example_input: a batch in PyTorch layout (N x C x H x W or N x F); only shapes matter.

    Raises:
        UnsupportedError: every unsupported node, each with its module path.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    # Two samples, so that a reshape to (-1, features) cannot be mistaken for (1, features).
    one = len(example_input) == 1
    batch = torch.cat([example_input, example_input]) if one else example_input
    try:
        with plain_normalize(model):
            return _capture(model, batch)
    finally:
        for module, training in modes:
            module.training = training


def _capture(model: nn.Module, batch: Tensor) -> Network:
    try:
        traced: fx.GraphModule = fx.symbolic_trace(model)
    except Exception as error:
        return _exported(model, batch, error)
    try:
        return _Fuser(model, shaped(model, traced, batch)).run()
    except UnsupportedError as error:
        try:
            return _exported(model, batch, error)
        except UnsupportedError:
            raise error from None


def _exported(model: nn.Module, batch: Tensor, before: Exception) -> Network:
    """The network as torch.export sees it; ``before`` is why torch.fx did not do."""
    try:
        graph = export(model, batch)
    except Exception as error:
        run_once(model, batch)
        first = str(before if isinstance(before, UnsupportedError) else error).strip()
        raise UnsupportedError(
            [
                f"{type(model).__name__}: control flow that depends on data "
                f"({first.splitlines()[0]}); a fixed sequence of operations is supported; "
                "remove the branch or trace a part"
            ]
        ) from error
    return _Fuser(model, shaped(model, graph, batch)).run()


def _source(node: fx.Node) -> str:
    """Module path of a node, with the function where it is no module of its own."""
    if "source" in node.meta:
        return str(node.meta["source"])
    if node.op in ("call_module", "get_attr", "placeholder"):
        return str(node.target)
    stack = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
    called = (
        node.target
        if isinstance(node.target, str)
        else getattr(node.target, "__name__", str(node.target))
    )
    path = stack[-1] if stack else ""
    return f"{path}.{called}" if path else called


def _merge(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """The clamp equal to ``first`` followed by ``second``."""
    low, high = second
    return min(max(first[0], low), high), min(max(first[1], low), high)


class _Fuser:
    """One pass over the traced nodes; collects problems instead of stopping at the first."""

    def __init__(self, model: nn.Module, graph: fx.GraphModule) -> None:
        self.modules = dict(model.named_modules())
        self.paths = {p for p, _ in [*model.named_parameters(remove_duplicate=False),
                                     *model.named_buffers(remove_duplicate=False)]}  # fmt: skip
        self.graph = graph
        self.records: dict[str, Record] = {}
        self.names: dict[fx.Node, str] = {}
        self.uses: dict[str, int] = {}
        self.problems: list[str] = []

    def run(self) -> Network:
        calls = self._read()
        if self.problems:
            raise UnsupportedError(self.problems)
        self._count(calls)
        for node, call in calls:
            self._place(node, call)
        output = self.names[calls[-1][1].inputs[0]]
        last, records = self.records[output], tuple(self.records.values())
        if last.kind == "argmax":
            return Network(records, output, last.attrs["sequence"], not last.attrs["keep"])
        return Network(records, output, is_sequence(calls[-1][0].args[0]))

    def _read(self) -> list[tuple[fx.Node, Call]]:
        calls: list[tuple[fx.Node, Call]] = []
        inputs = 0
        shuffles, hidden = find_shuffles(self.graph.graph)
        for node in self.graph.graph.nodes:
            if node in hidden or is_split(node) or is_constant(node) or is_told(node):
                continue
            if node in shuffles:
                calls.append((node, shuffles[node]))
            elif node.op == "placeholder" and node.users:
                inputs += 1
                calls.append((node, Call("input", [], {"sequence": is_sequence(node)})))
            elif node.op == "output":
                calls.append((node, self._output(node)))
            elif node.op.startswith("call") and shape_of(node) is not None:
                module = self.modules[str(node.target)] if node.op == "call_module" else None
                try:
                    call = read_node(node, module)
                    self._check_paths(call)
                    calls.append((node, call))
                except Unsupported as error:
                    self.problems.append(f"{_source(node)}: {error}")
                except (AssertionError, KeyError, TypeError, ValueError) as error:
                    self.problems.append(
                        f"{_source(node)}: arguments that cannot be read ({error!r}); plain "
                        "tensors and numbers are supported; use the module form"
                    )
            elif node.op.startswith("call") and is_tensor_tuple(node):
                self.problems.append(
                    f"{_source(node)}: {called(node)} with several outputs; split and chunk with "
                    "plain sizes are supported; write it with them, or one tensor per node"
                )
        if inputs != 1:
            self.problems.append(
                f"inputs: {inputs} found; one input tensor is supported; join "
                "the inputs outside the network"
            )
        return calls

    def _check_paths(self, call: Call) -> None:
        bn = (call.bn.weight, call.bn.bias, call.bn.mean, call.bn.var) if call.bn else ()
        if {call.weight, call.bias, call.attrs.get("slopes"), *bn} - {None} - self.paths:
            raise Unsupported(
                "a weight or bias that is made inside forward; parameters of the module are "
                "supported; register it as a parameter or buffer"
            )

    def _output(self, node: fx.Node) -> Call:
        value = node.args[0]
        if isinstance(value, fx.Node) and shape_of(value) is not None:
            return Call("output", [value])
        self.problems.append(
            "output: not a single tensor; one output tensor is supported; return "
            "only the tensor to deploy"
        )
        return Call("output", [])

    def _count(self, calls: list[tuple[fx.Node, Call]]) -> None:
        """Uses of every tensor, with identities (dropout) looked through."""
        alias: dict[fx.Node, fx.Node] = {}
        for node, call in calls:
            call.inputs = [alias.get(i, i) for i in call.inputs]
            if call.kind == "identity":
                alias[node] = call.inputs[0]
                continue
            for inp in call.inputs:
                self.uses[inp.name] = self.uses.get(inp.name, 0) + 1
        calls[:] = [(n, c) for n, c in calls if c.kind != "identity"]

    def _place(self, node: fx.Node, call: Call) -> None:
        if call.kind == "output":
            return
        if call.kind in ("batchnorm", "clamp") and self._absorb(node, call):
            return
        if call.attrs.get("function") == "affine" and self._join(node, call):
            return
        kind = "affine" if call.kind in ("batchnorm", "clamp") else call.kind
        shape = shape_of(node)
        assert shape is not None
        name = identifier(node.name)
        attrs: dict[str, Any] = dict(call.attrs)
        squeeze = attrs.pop("squeeze", False)
        inside = attrs.pop("shape", shape[1:])
        self.records[name] = Record(
            name,
            kind,
            _source(node),
            tuple(self.names[i] for i in call.inputs),
            (*inside, 1, 1) if squeeze else inside,
            attrs,
            call.weight,
            call.bias,
            call.bn,
            call.clamp,
        )
        if squeeze:
            flat = f"{name}_flat"
            self.records[flat] = Record(flat, "flatten", _source(node), (name,), shape[1:])
            name = flat
        self._alias(node, name)

    def _alias(self, node: fx.Node, name: str) -> None:
        self.names[node] = name
        self.uses.setdefault(node.name, 0)

    def _absorb(self, node: fx.Node, call: Call) -> bool:
        """Fuse a BatchNorm or clamp into the record before it; True when that was possible."""
        before = call.inputs[0]
        if self.uses[before.name] != 1:
            return False
        name = self.names[before]
        record = self.records[name]
        # max(clamp(x)) = clamp(max(x)): a clamp moves over pools and reshapes that only it reads.
        while call.kind == "clamp" and record.kind in ("maxpool2d", "flatten"):
            if self._readers(record.inputs[0]) != 1:
                return False
            record = self.records[record.inputs[0]]
        if record.kind not in GRID_KINDS or record.kind in ("input", *UNIT_KINDS):
            return False
        if call.kind == "batchnorm":
            if record.kind not in WEIGHTED or record.bn or record.clamp != NO_CLAMP:
                return False
            self.records[record.name] = replace(record, bn=call.bn)
        else:
            self.records[record.name] = replace(record, clamp=_merge(record.clamp, call.clamp))
        self._alias(node, name)
        return True

    def _join(self, node: fx.Node, call: Call) -> bool:
        """Make one product and sum of two that follow each other; True where that was possible."""
        before = call.inputs[0]
        record = self.records[self.names[before]]
        if (
            self.uses[before.name] != 1
            or record.clamp != NO_CLAMP
            or (record.attrs.get("function") != "affine")
        ):
            return False
        old, new = record.attrs, call.attrs
        factor = apply(lambda a, b: a * b, old["factor"], new["factor"])
        shift = apply(lambda s, f, t: s * f + t, old["shift"], new["factor"], new["shift"])
        attrs = {**old, "factor": factor, "shift": shift}
        self.records[record.name] = replace(record, attrs=attrs)
        self._alias(node, record.name)
        return True

    def _readers(self, name: str) -> int:
        """Nodes of the network that read the tensor of record ``name`` in its final form."""
        last = [n for n, value in self.names.items() if value == name][-1]
        return self.uses[last.name]
