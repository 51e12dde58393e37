# SPDX-License-Identifier: Apache-2.0
"""What every width of a prepared network rules, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .records import GRID_KINDS

if TYPE_CHECKING:
    from .module import QuantModule


@dataclass(frozen=True)
class Group:
    """One width and everything it rules.

    Attributes:
        name: name of the width variable.
        kind: ``weight``, ``act`` or ``channels``.
        bits: the integer width now; of channels, the eighths that are kept.
        fixed: not searched, and why not in ``reason``.
        reason: why it is fixed or shared; empty for a free single tensor.
        members: record names.
        kept: of channels, "12 of 16"; else empty.
    """

    name: str
    kind: str
    bits: int
    fixed: bool
    reason: str
    members: tuple[str, ...]
    kept: str = ""


def list_groups(module: QuantModule) -> list[Group]:
    """The groups of a prepared network, in the order of its widths."""
    members: dict[str, list[str]] = {width.name: [] for width in module.widths}
    plan = module.channels
    kept = {}
    if plan is not None:
        kept = {one.width.name: f"{one.kept()} of {one.count}" for one in plan.sets.values()}
    for record in module.network.records:
        if record.weight is not None:
            members[module.weight_quantizer(record).width.name].append(record.name)
        if record.kind in GRID_KINDS:
            members[module.act_quantizer(record.name).width.name].append(record.name)
            for width in [] if plan is None else plan.widths(record.name):
                members[width.name].append(record.name)
    return [
        Group(
            w.name,
            w.kind,
            w.bits,
            w.fixed,
            module.reasons.get(w.name, ""),
            tuple(members[w.name]),
            kept.get(w.name, ""),
        )
        for w in module.widths
    ]
