# SPDX-License-Identifier: Apache-2.0
"""Output channels that may be pruned: which layers share them, and how many of them are kept.

A sum needs the same channels on both sides, and a depthwise layer has those of its input: such
layers form one set, whose channels go together. What is kept of a set is a width like any other, in
eighths of its channels: the least important channels of the set have no bits at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, prod

import torch
from torch import Tensor, nn

from .bits import MAX_BITS, BitWidth
from .capture import Network
from .records import WEIGHTED, Record

LEAST = 2
"""Eighths of a set that always stay."""


class ChannelSet(nn.Module):
    """The channels that some layers share.

    Attributes:
        width: what is kept, in eighths.
        count: channels in all.
        group: channels are kept in multiples of this.
        rank: by channel, 0 for the most important one; set by calibration.
    """

    rank: Tensor
    width: BitWidth

    def __init__(self, width: BitWidth, count: int, group: int) -> None:
        super().__init__()
        object.__setattr__(self, "width", width)  # belongs to the network
        self.count, self.group = count, group
        self.register_buffer("rank", torch.arange(count))

    def kept(self, part: int | None = None) -> int:
        """Channels that stay with ``part`` eighths; default: what is in force."""
        return kept_channels(self.count, self.group, self.width.bits if part is None else part)

    def mask(self) -> Tensor:
        """Which channels stay, ``[count]``."""
        return self.rank < self.kept()


def kept_channels(count: int, group: int, part: int) -> int:
    """Channels in ``part`` eighths of ``count``, in whole groups."""
    return min(count, ceil(count * part / (MAX_BITS * group)) * group)


def parts(count: int, group: int) -> tuple[int, ...]:
    """The eighths that differ in the channels they keep, the largest of equal ones."""
    known = {kept_channels(count, group, part): part for part in range(LEAST, MAX_BITS + 1)}
    return tuple(sorted(known.values()))


@dataclass(frozen=True)
class Segment:
    """Neighbouring channels of a tensor that come from one set.

    Attributes:
        set: name of the set; None where the channels cannot be pruned.
        count: its channels.
        repeat: features per channel, more than one behind a flattened map.
    """

    set: str | None
    count: int
    repeat: int = 1


class ChannelPlan:
    """The sets of a network and where their channels lie in every tensor.

    Attributes:
        sets: by name.
        segments: of the channel axis, by record.
        members: records with a grid whose channels are a set's, by set.
    """

    def __init__(
        self, sets: Mapping[str, ChannelSet], segments: Mapping[str, tuple[Segment, ...]]
    ) -> None:
        self.sets, self.segments = dict(sets), dict(segments)

    @property
    def whole(self) -> bool:
        """Whether every channel is kept now."""
        return all(one.kept() == one.count for one in self.sets.values())

    def widths(self, *names: str) -> list[BitWidth]:
        """The distinct widths of channels that decide the shapes of some records."""
        found = [s.set for name in names for s in self.segments[name] if s.set is not None]
        return [self.sets[name].width for name in dict.fromkeys(found)]

    def channels(self, name: str, bits: Mapping[BitWidth, int]) -> int:
        """Channels (or features) of a record for an assignment."""
        return sum(
            s.repeat
            * (
                s.count
                if s.set is None
                else self.sets[s.set].kept(bits.get(self.sets[s.set].width))
            )
            for s in self.segments[name]
        )

    def mask(self, name: str) -> Tensor | None:
        """Which channels (or features) of a record stay; None where all do."""
        own = self.segments[name]
        masks = [None if s.set is None else self.sets[s.set].mask() for s in own]
        if all(mask is None or bool(mask.all()) for mask in masks):
            return None
        device = next(mask for mask in masks if mask is not None).device
        full = [
            torch.ones(s.count, dtype=torch.bool, device=device) if mask is None else mask
            for s, mask in zip(own, masks, strict=True)
        ]
        return torch.cat([m.repeat_interleave(s.repeat) for s, m in zip(own, full, strict=True)])

    def masked(self, name: str, x: Tensor) -> Tensor:
        """A tensor with zeros in the channels that do not stay."""
        mask = self.mask(name)
        if mask is None:
            return x
        return x * mask.reshape(1, -1, *[1] * (x.dim() - 2)).to(x.dtype)


@dataclass
class _Space:
    """Channels before it is known what else they are tied to."""

    count: int
    name: str
    blocked: bool = False
    parent: int | None = None
    members: list[str] = field(default_factory=list)


class ChannelFinder:
    """One pass over the records that ties their channels together.

    Attributes:
        spans: (space, repeat) pairs by record.
    """

    def __init__(self, network: Network) -> None:
        self.spaces: list[_Space] = []
        self.spans: dict[str, list[tuple[int, int]]] = {}
        self.records = {record.name: record for record in network.records}
        for record in network.records:
            self.spans[record.name] = self._place(record)
        self._block(self.spans[network.output])
        self._block_shared(network)

    def segments(self, name: str, sets: Mapping[str, ChannelSet]) -> tuple[Segment, ...]:
        """The segments of a record where only ``sets`` may be pruned."""
        found = []
        for index, repeat in self.spans[name]:
            space = self.spaces[self._root(index)]
            known = not space.blocked and space.name in sets
            found.append(Segment(space.name if known else None, space.count, repeat))
        return tuple(found)

    def free(self) -> dict[str, int]:
        """Channels of every set that nothing forbids to prune, by the name of its first record."""
        roots = [self.spaces[i] for i in range(len(self.spaces)) if self._root(i) == i]
        return {space.name: space.count for space in roots if not space.blocked}

    def _new(self, record: Record, blocked: bool = False) -> list[tuple[int, int]]:
        self.spaces.append(_Space(record.channels, record.name, blocked))
        return [(len(self.spaces) - 1, 1)]

    def _root(self, index: int) -> int:
        while (parent := self.spaces[index].parent) is not None:
            index = parent
        return index

    def _tie(self, a: int, b: int) -> None:
        first, second = sorted((self._root(a), self._root(b)))
        if first != second:
            self.spaces[second].parent = first
            self.spaces[first].blocked |= self.spaces[second].blocked

    def _block(self, spans: list[tuple[int, int]]) -> None:
        for index, _ in spans:
            self.spaces[self._root(index)].blocked = True

    def _place(self, record: Record) -> list[tuple[int, int]]:
        if record.kind == "input":
            return self._new(record, blocked=True)
        inputs = [self.spans[name] for name in record.inputs]
        source = self.records[record.inputs[0]]
        match record.kind:
            case "conv2d" if record.depthwise and record.channels == source.channels:
                return inputs[0]
            case kind if kind in WEIGHTED and record.attrs.get("groups", 1) == 1:
                return self._new(record)
            case "concat":
                return [span for spans in inputs for span in spans]
            case "add" | "mul":
                if record.kind == "mul" and self.records[record.inputs[1]].channels == 1:
                    self._block(inputs[1])
                    return inputs[0]
                return self._joined(*inputs)
            case "extremum":
                for other in inputs[1:]:
                    self._joined(inputs[0], other)
                return inputs[0]
            case "flatten":
                pixels = prod(source.shape[1:])
                return [(index, repeat * pixels) for index, repeat in inputs[0]]
            case "maxpool2d" | "avgpool2d" | "affine" | "upsample_bilinear" | "upsample_nearest":
                return inputs[0]
            case "pointwise" if not _per_channel(record):
                return inputs[0]
            case "pad" if not any(record.attrs["channels"]):
                return inputs[0]
            case "slice" if record.channels == source.channels:
                return inputs[0]
        # groups, shuffles, slices of channels, scores: every channel keeps its place
        for spans in inputs:
            self._block(spans)
        return self._new(record, blocked=True)

    def _joined(
        self, first: list[tuple[int, int]], second: list[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        alike = len(first) == len(second) and all(
            (self.spaces[a].count, r) == (self.spaces[b].count, q)
            for (a, r), (b, q) in zip(first, second, strict=True)
        )
        if alike:
            for (a, _), (b, _) in zip(first, second, strict=True):
                self._tie(a, b)
        else:
            self._block([*first, *second])
        return first

    def _block_shared(self, network: Network) -> None:
        """Parameters that two records share fit the channels of both only while nothing goes."""
        used: dict[str, list[Record]] = {}
        for record in network.records:
            for path in {record.weight, None if record.bn is None else record.bn.mean} - {None}:
                used.setdefault(str(path), []).append(record)
        for readers in used.values():
            for record in readers if len(readers) > 1 else []:
                self._block(self.spans[record.name])
                self._block(self.spans[record.inputs[0]])


def _per_channel(record: Record) -> bool:
    """Whether a function of one value has numbers of its own for every channel."""
    several = any(isinstance(v, tuple) and len(v) > 1 for v in record.attrs.values())
    return several or "slopes" in record.attrs


def plan_channels(
    network: Network, group: int
) -> tuple[ChannelPlan, list[BitWidth], dict[str, str]]:
    """(plan, widths, what each set ties) for pruning in groups of ``group`` channels."""
    finder = ChannelFinder(network)
    sets: dict[str, ChannelSet] = {}
    for name, count in finder.free().items():
        allowed = parts(count, group)
        if len(allowed) > 1:
            width = BitWidth(f"c:{name}", "channels", MAX_BITS)
            width.allow(allowed)
            sets[name] = ChannelSet(width, count, group)
    segments = {r.name: finder.segments(r.name, sets) for r in network.records}
    ties = {}
    for name, one in sets.items():
        tied = [
            r.name
            for r in network.records
            if r.kind in (*WEIGHTED, "add", "mul", "extremum")
            and any(s.set == name for s in segments[r.name])
        ]
        if len(tied) > 1:
            ties[one.width.name] = f"the same channels in {', '.join(tied)}"
    return ChannelPlan(sets, segments), [one.width for one in sets.values()], ties
