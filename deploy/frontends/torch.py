# SPDX-License-Identifier: Apache-2.0
"""Lowers a prepared PyTorch network to the integer graph and proves both are the same integers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ...train.devices import device_of
from ...train.exact_mode import exact
from ...train.module import QuantModule
from ...train.records import Record
from ...train.shrink import shrunk
from ...train.snap import Constants
from ..errors import AdaqatError, UnsupportedError, UsageError
from ..graph import Graph, Node
from ..ops.add import Add
from ..ops.argmax import ArgMax
from ..ops.base import Op
from ..ops.concat import Concat
from ..ops.conv2d import Conv2d
from ..ops.conv_transpose2d import ConvTranspose2d
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..ops.extremum import Extremum
from ..ops.linear import Linear
from ..ops.lookup import Lookup
from ..ops.mul import Mul
from ..ops.pool2d import AvgPool2d, MaxPool2d
from ..ops.requantize import Requantize
from ..ops.softmax import Softmax
from ..ops.source import Input, Reshape
from ..ops.transpose import Transpose
from ..ops.upsample import UpsampleBilinear
from ..ops.weighted import Weights
from ..passes import run_passes
from ..requant import Requant
from ..simulate import quantize_input, simulate
from ..types import IntArray
from .geometry import moving_op, nhwc, transposed_window, window_of

Order = NDArray[np.int64]
"""For a flattened map: PyTorch feature index of every feature of the graph's tensor."""


class LoweringError(AdaqatError):
    """The lowered graph and the module's exact mode disagree: a defect, never a rounding matter."""

    exit_code = 1


def lower(module: torch.nn.Module, example_input: torch.Tensor, *, name: str = "net") -> Graph:
    """Lower a prepared, calibrated network.

    Args:
        module: what `adaqat.train.prepare` returned, calibrated and usually trained.
        example_input: real inputs in the module's layout, to compare graph and exact mode on.
        name: label of the graph.

    Returns:
        A checked graph without pruned channels; every integer equals ``adaqat.train.exact``'s.

    Raises:
        UsageError: the module was not prepared or not calibrated.
        UnsupportedError: numbers that the integer rule cannot express, all of them at once.
        LoweringError: the two integer implementations disagree.
    """
    if not isinstance(module, QuantModule):
        raise UsageError(
            f"lower: {type(module).__name__} found; a prepared network is needed; "
            "call adaqat.train.prepare, calibrate and train first"
        )
    if not module.calibrated:
        raise UsageError(
            "lower: a network without activation ranges; call "
            "adaqat.train.calibrate(module, batches) first"
        )
    reference = exact(module := shrunk(module))
    builder = _Builder(reference.constants)
    for record in module.network.records:
        builder.add(record)
    builder.check_output(module.network.output)
    graph = run_passes(Graph(name, tuple(builder.nodes.values()), module.network.output))
    expected = reference.codes(example_input.to(device_of(module)))
    _compare(graph, builder, expected, example_input.cpu())
    return graph


class _Builder:
    """Nodes so far, with the feature order of every flattened tensor."""

    def __init__(self, constants: dict[str, Constants]) -> None:
        self.constants = constants
        self.nodes: dict[str, Node] = {}
        self.orders: dict[str, Order] = {}

    def add(self, record: Record) -> None:
        constants = self.constants[record.name]
        inputs = tuple(self.nodes[name] for name in record.inputs)
        if record.kind == "shuffle":
            inputs = self._shuffled(record, inputs)
        op = self._op(record, constants, inputs)
        self.nodes[record.name] = Node.make(
            record.name, op, inputs, scale=constants.scale, zero=0, source=record.source
        )

    def _shuffled(self, record: Record, inputs: tuple[Node, ...]) -> tuple[Node, ...]:
        """The nodes before the last one of a channel shuffle: split the channels and swap."""
        height, width, channels = inputs[0].output.shape
        groups = record.attrs["groups"]
        split = Reshape((height * width, groups, channels // groups))
        for name, op in (("split", split), ("turned", Transpose((0, 2, 1)))):
            node = Node.make(f"{record.name}_{name}", op, inputs, source=record.source)
            self.nodes[node.name] = node
            inputs = (node,)
        return inputs

    def _op(self, record: Record, constants: Constants, inputs: tuple[Node, ...]) -> Op:
        shape = nhwc(record.shape)
        moved = self._moved(record, shape)
        if moved is not None:
            return moved
        match record.kind:
            case "input":
                layout = "NCL" if record.attrs.get("sequence") else "NCHW"
                return Input(shape, constants.type, layout if len(shape) == 3 else "NC")
            case "conv2d" | "conv_transpose2d" | "linear":
                return self._weighted(record, constants)
            case "pointwise":
                assert constants.table is not None
                order = self._ordered_like(record)
                table = constants.table
                rows = table if order is None or len(table) == 1 else table[order]
                return Lookup(rows, constants.type)
            case "softmax":
                assert constants.table is not None
                self._ordered_like(record)
                return Softmax(constants.table[0], constants.type)
            case "argmax":
                self._check_order(record.source, record.inputs[0])
                return ArgMax()
            case "mul":
                assert constants.requant is not None
                self._same_orders(record)
                return Mul((0, 0), constants.requant, constants.type)
            case "upsample_bilinear":
                assert constants.requant is not None
                corners = int(record.attrs["corners"])
                size = record.attrs["size"]
                return UpsampleBilinear(size, corners, constants.requant, constants.type)
            case "add":
                assert constants.add is not None
                self._same_orders(record)
                return Add(constants.add, constants.type)
            case "concat":
                if any(name in self.orders for name in record.inputs):
                    self.orders[record.name] = self._joined(record)
                return Concat()
            case "extremum":
                self._same_orders(record)
                return Extremum(record.attrs["largest"])
            case "flatten":
                source = inputs[0].output.shape
                if len(source) == 3:
                    index = np.arange(int(np.prod(source)), dtype=np.int64)
                    self.orders[record.name] = (
                        index.reshape(source[2], source[0], source[1])
                        .transpose(1, 2, 0)
                        .reshape(-1)
                    )
                return Reshape(shape)
            case "maxpool2d":
                return MaxPool2d(window_of(record.attrs))
            case "avgpool2d":
                assert constants.requant is not None
                return AvgPool2d(window_of(record.attrs), constants.requant, constants.type)
        assert constants.requant is not None
        return Requantize(self._ordered(record, constants.requant), constants.type)

    def _moved(self, record: Record, shape: tuple[int, ...]) -> Op | None:
        """Operators that only move codes."""
        if record.kind in ("slice", "pad") and record.inputs[0] in self.orders:
            raise UnsupportedError(
                [f"{record.source}: a {record.kind} of a flattened map; maps and features of a"
                 " linear layer are supported; do it before flattening"]
            )  # fmt: skip
        return moving_op(record.kind, record.attrs, shape)

    def _same_orders(self, record: Record) -> None:
        orders = [self.orders.get(name) for name in record.inputs]
        if len({None if o is None else o.tobytes() for o in orders}) > 1:
            raise UnsupportedError(
                [
                    f"{record.source}: a flattened map joined with features of another "
                    "order; tensors of one order are supported; join before flattening"
                ]
            )
        if orders[0] is not None:
            self.orders[record.name] = orders[0]

    def _ordered_like(self, record: Record) -> Order | None:
        """The order of the first input, which the result shares."""
        order = self.orders.get(record.inputs[0])
        if order is not None:
            self.orders[record.name] = order
        return order

    def _weighted(self, record: Record, constants: Constants) -> Op:
        assert constants.codes is not None and constants.requant is not None
        codes = constants.codes.astype(np.uint8)
        if record.kind == "linear":
            order = self.orders.get(record.inputs[0])
            return Linear(
                _weights(codes if order is None else codes[:, order], constants),
                constants.requant,
                constants.type,
            )
        window = window_of(record.attrs)
        ohwi = np.ascontiguousarray(codes.transpose(0, 2, 3, 1))
        if record.kind == "conv_transpose2d":
            return ConvTranspose2d(
                _weights(ohwi[:, ::-1, ::-1], constants), constants.requant, constants.type,
                transposed_window(record.attrs), record.attrs["stride"], record.attrs["groups"],
            )  # fmt: skip
        if record.depthwise:
            return DepthwiseConv2d(
                _weights(ohwi, constants), constants.requant, constants.type, window
            )
        return Conv2d(
            _weights(ohwi, constants),
            constants.requant,
            constants.type,
            window,
            record.attrs["groups"],
        )

    def _ordered(self, record: Record, rule: Requant) -> Requant:
        """Per-feature constants in the order of the graph's features."""
        order = self._ordered_like(record)
        if order is None:
            return rule
        return Requant(
            rule.p, rule.bias[order], rule.m[order], rule.s[order], rule.z[order], rule.lo, rule.hi
        )

    def _joined(self, record: Record) -> Order:
        parts, start = [], 0
        for name in record.inputs:
            width = self.nodes[name].output.shape[-1]
            parts.append(self.orders.get(name, np.arange(width, dtype=np.int64)) + start)
            start += width
        return np.concatenate(parts)

    def check_output(self, output: str) -> None:
        """Refuse an output whose features would leave in another order."""
        self._check_order(output, output)

    def _check_order(self, source: str, name: str) -> None:
        order = self.orders.get(name)
        if order is not None and not np.array_equal(order, np.arange(len(order))):
            raise UnsupportedError(
                [
                    f"{source}: a flattened map as the network's output; its features "
                    "would leave in another order; return the map itself or end with a linear layer"
                ]
            )

    def to_graph_layout(self, name: str, codes: IntArray) -> IntArray:
        """A tensor of exact mode in the graph's layout."""
        if codes.ndim == 4:
            return np.moveaxis(codes, 1, -1)
        order = self.orders.get(name)
        return codes if order is None else codes[:, order]


def _weights(codes: NDArray[np.uint8], constants: Constants) -> Weights:
    return Weights(
        np.ascontiguousarray(codes), constants.weight_bits, constants.step, constants.offset
    )


def _compare(
    graph: Graph, builder: _Builder, expected: dict[str, torch.Tensor], example: torch.Tensor
) -> None:
    """Every node, every integer."""
    values = simulate(graph, quantize_input(graph, example.double().numpy()), keep=True)
    for node in graph.nodes:
        if node.name not in expected:  # a step inside a channel shuffle
            continue
        codes = expected[node.name].cpu().numpy().astype(np.int64)
        wanted = builder.to_graph_layout(node.name, codes)
        got = values[node.name].astype(np.int64)
        if not np.array_equal(wanted, got):
            wrong = np.argwhere(wanted != got)
            first = tuple(int(i) for i in wrong[0])
            raise LoweringError(
                f"{node.source}: {len(wrong)} of {got.size} integers differ from exact mode, first "
                f"at {first}: {wanted[first]} expected, {got[first]} found; this is a defect of "
                "adaqat-deploy, please report it with the model"
            )
