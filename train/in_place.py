# SPDX-License-Identifier: Apache-2.0
"""Operations that overwrite their input: whoever reads that input later reads their result."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx

OPERATORS = (operator.iadd, operator.isub, operator.imul, operator.itruediv)


def follow_in_place(graph: fx.GraphModule) -> None:
    """Let every later reader of an overwritten tensor read the result instead.

    Nodes stand in the order of execution, so "later" is a matter of position.
    """
    modules = dict(graph.named_modules())
    order = {node: i for i, node in enumerate(graph.graph.nodes)}
    for node in graph.graph.nodes:
        if not _overwrites(node, modules):
            continue
        source: Any = node.args[0] if node.args else None
        if isinstance(source, fx.Node):
            later = {user for user in source.users if order[user] > order[node]}
            source.replace_all_uses_with(node, delete_user_cb=later.__contains__)


def _overwrites(node: fx.Node, modules: dict[str, Any]) -> bool:
    if node.meta.get("in_place"):
        return True
    if node.op == "call_module":
        return bool(getattr(modules.get(str(node.target)), "inplace", False))
    if node.op == "call_method":
        return str(node.target).endswith("_")
    if node.op != "call_function":
        return False
    name = getattr(node.target, "__name__", "")
    return (
        node.target in OPERATORS
        or bool(node.kwargs.get("inplace"))
        or (name.endswith("_") and not name.startswith("_"))
    )
