# SPDX-License-Identifier: Apache-2.0
"""Finds channel shuffles that are written as reshape, transpose, reshape."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from .nodes import Call, real_shape

RESHAPES = {torch.reshape, "view", "reshape", "flatten", torch.flatten}
TRANSPOSES = {torch.transpose, torch.permute, torch.swapaxes, "transpose", "permute", "swapaxes"}


def find_shuffles(graph: fx.Graph) -> tuple[dict[fx.Node, Call], set[fx.Node]]:
    """(call of the last node of each shuffle, nodes inside that need no reading)."""
    found: dict[fx.Node, Call] = {}
    hidden: set[fx.Node] = set()
    for last in graph.nodes:
        if last.target not in RESHAPES:
            continue
        inside: list[fx.Node] = []
        node: Any = last.args[0] if last.args else None
        while _is(node, {"contiguous"}):
            inside.append(node)
            node = node.args[0]
        if not (_is(node, TRANSPOSES) and _swaps(node)):
            continue
        inside.append(node)
        node = node.args[0]
        if not _is(node, RESHAPES) or any(len(n.users) != 1 for n in [*inside, node]):
            continue
        inside.append(node)
        source, split = node.args[0], real_shape(node)
        whole = real_shape(source)
        if split is None or whole is None or real_shape(last) != whole or len(split) < 4:
            continue
        if split[0] == whole[0] and split[1] * split[2] == whole[1] and split[3:] == whole[2:]:
            found[last] = Call("shuffle", [source], {"groups": split[1]})
            hidden.update(inside)
    return found, hidden


def _is(node: Any, targets: set[Any]) -> bool:
    return isinstance(node, fx.Node) and node.op.startswith("call") and node.target in targets


def _swaps(node: fx.Node) -> bool:
    """Whether axes 1 and 2 change places and nothing else moves."""
    before, after = real_shape(node.args[0]), real_shape(node)
    if before is None or after is None or len(before) not in (4, 5):
        return False
    axes: list[Any] = [a for a in node.args[1:] if not isinstance(a, fx.Node)]
    given = axes[0] if len(axes) == 1 and isinstance(axes[0], tuple | list) else axes
    flat = [int(a) % len(before) for a in given]
    return sorted(flat) == [1, 2] or flat == [0, 2, 1, *range(3, len(before))]
