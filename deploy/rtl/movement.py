# SPDX-License-Identifier: Apache-2.0
"""Plans of modules that move codes or look them up: tables, borders, parts, order, largest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from math import gcd, prod
from typing import TYPE_CHECKING, Any

from ..errors import UnsupportedError
from ..ops.base import TensorInfo
from ..ops.strides import as_rank, strides_of
from .elementwise import dividing, pixels, port, queue, store_of
from .gather import gather_module
from .plan import MapTiming, Port, Rom, RtlPlan, bits_for, twos

if TYPE_CHECKING:
    from ..ops.lookup import Lookup
    from ..ops.pad import Pad
    from ..ops.slice import Slice

AXES = ("c", "x", "y")
"""Loops over a tensor of three axes, innermost first; the first goes in beats."""


def plan_lookup(
    op: Lookup, source: TensorInfo, output: TensorInfo, lanes: int
) -> RtlPlan:
    """A memory per lane: the code is its address, under the channel's number where rows differ."""
    lanes = dividing(lanes, output.shape[-1])
    beats = output.shape[-1] // lanes if len(op.table) > 1 else 1
    entries = 1 << source.type.bits
    depth = entries * beats
    width = output.type.bits
    if len(op.table) == 1:
        roms: tuple[Rom, ...] = (
            Rom("entries", width, depth, "output code per input code, as unsigned address",
                partial(_entries, op, source, 0, 1, 1), lanes),
        )  # fmt: skip
    else:
        roms = tuple(
            Rom(f"entries{lane}", width, depth,
                f"output code per channel {lane}, {lane + lanes}, ... and input code",
                partial(_entries, op, source, lane, lanes, beats))
            for lane in range(lanes)
        )  # fmt: skip
    target = port(output, lanes)
    values = {
        "lanes": lanes, "in_bits": source.type.bits, "out_bits": width, "depth": queue(1),
        "store": store_of(queue(1)), "entries": depth, "beats": beats,
        "files": [roms[0 if len(roms) == 1 else lane].name for lane in range(lanes)],
        "beat_bits": bits_for(beats - 1), "rom_style": "",
        "counters": bits_for(beats - 1) if beats > 1 else 0,
    }  # fmt: skip
    timing = MapTiming(((0,),), target.beats, 1, 1, queue(1))
    return RtlPlan("lookup", values, (port(source, lanes),), target, timing, roms)


def _entries(op: Lookup, source: TensorInfo, first: int, step: int, beats: int) -> list[int]:
    """Words of one lane's memory in the order of unsigned addresses."""
    length = op.table.shape[1]
    shift = length // 2 if source.type.signed else 0
    words = []
    for beat in range(beats):
        row = op.table[first + beat * step]
        words += [
            twos(int(row[(code + shift) % length]), op.out_type.bits) for code in range(length)
        ]
    return words


def _axes(
    shape: Sequence[int], start: Sequence[int], size: Sequence[int], step: Sequence[int],
    lanes: int,
) -> list[dict[str, Any]]:
    """Loops over a tensor and which of their turns lie inside a part, innermost first."""
    found = []
    rows = zip(*(as_rank(tuple(v), 3) for v in (shape, size, step)), strict=True)
    starts = (*[0] * (3 - len(start)), *start)
    for name, (count, kept, by), first in zip(
        reversed(AXES), rows, starts, strict=True
    ):  # from the outermost
        if name == "c":
            count, kept, first = count // lanes, kept // lanes, first // lanes
        inside = [first + i * by for i in range(kept)]
        bits = bits_for(count - 1)
        found.append(
            {
                "name": name, "count": count, "bits": bits, "first": first, "step": by,
                "end": first + kept, "whole": kept == count, "inside": inside,
                "flags": f"{sum(1 << i for i in inside):x}" if by > 1 else "0",
            }
        )  # fmt: skip
    return found[::-1]


def _walk(axes: Sequence[dict[str, Any]]) -> list[bool]:
    """Whether each beat of a frame lies inside, in the order of the stream."""
    flags = [
        [turn in set(axis["inside"]) for turn in range(axis["count"])] for axis in reversed(axes)
    ]
    return [all(each) for each in product(*flags)]


def plan_slice(op: Slice, source: TensorInfo, output: TensorInfo, lanes: int) -> RtlPlan:
    """All beats are taken, those inside go on."""
    whole = gcd(source.shape[-1], gcd(op.start[-1], op.size[-1]))
    lanes = dividing(lanes, whole) if op.step[-1] == 1 else 1
    axes = _axes(source.shape, op.start, op.size, op.step, lanes)
    inside = _walk(axes)
    target = port(output, lanes)
    assert sum(inside) == target.beats, "the loops keep the whole output"
    depth = queue(0)
    values = {
        "axes": axes, "depth": depth, "store": store_of(depth),
        "counters": sum(axis["bits"] for axis in axes if axis["count"] > 1),
    }  # fmt: skip
    timing = MapTiming(((0,),) * len(inside), target.beats, 1, 0, depth, pushes=tuple(inside))
    return RtlPlan("slice", values, (port(source, lanes),), target, timing)


def plan_pad(op: Pad, source: TensorInfo, output: TensorInfo, lanes: int) -> RtlPlan:
    """A beat of the input where it lies inside, a constant one elsewhere."""
    lanes = dividing(
        lanes, gcd(source.shape[-1], gcd(op.before[-1], op.after[-1]))
    )
    ones = (1,) * len(source.shape)
    axes = _axes(output.shape, op.before, source.shape, ones, lanes)
    inside = _walk(axes)
    target = port(output, lanes)
    depth = queue(0)
    bits = output.type.bits
    border = sum(twos(op.value, bits) << (bits * lane) for lane in range(lanes))
    values = {
        "axes": axes, "border": f"{border:x}", "depth": depth, "store": store_of(depth),
        "counters": sum(axis["bits"] for axis in axes if axis["count"] > 1),
    }  # fmt: skip
    order = tuple((0,) if each else () for each in inside)
    timing = MapTiming(order, target.beats, 1, 0, depth)
    return RtlPlan("pad", values, (port(source, lanes),), target, timing)


def plan_argmax(source: TensorInfo, output: TensorInfo) -> RtlPlan:
    """One code a cycle against the largest so far."""
    channels = source.shape[-1]
    depth = queue(1)
    values = {
        "channels": channels, "signed": source.type.signed, "in_bits": source.type.bits,
        "out_bits": output.type.bits, "at_bits": bits_for(channels - 1), "depth": depth,
        "store": store_of(depth), "counters": bits_for(channels - 1) + source.type.bits,
    }  # fmt: skip
    pushes = (*[False] * (channels - 1), True)
    timing = MapTiming(((0,),) * channels, pixels(output), 1, 1, depth, pushes=pushes)
    return RtlPlan("argmax", values, (port(source, 1),), port(output, 1), timing)


def plan_upsample(source: TensorInfo, output: TensorInfo, lanes: int) -> RtlPlan:
    """Pixels repeated along a row, rows repeated along the image.

    Raises:
        UnsupportedError: a factor that is no whole number.
    """
    (height, width, channels), (rows, columns, _) = source.shape, output.shape
    if rows % height or columns % width:
        raise UnsupportedError(
            [f"upsample_nearest: {height}x{width} to {rows}x{columns}; whole factors are supported"
             " on FPGA targets; choose a size that is a multiple"]
        )  # fmt: skip
    lanes = dividing(lanes, channels)
    words, across, down = channels // lanes, columns // width, rows // height
    pixel = [(words, 1), (across, 0)]
    block, loops = (
        (words * width, [*pixel, (width, words), (down, 0)]) if down > 1 else (words, pixel)
    )
    return gather_module(
        "upsample_nearest", port(source, lanes), port(output, lanes), block, loops
    )


def plan_transpose(
    axes: Sequence[int], source: TensorInfo, output: TensorInfo, lanes: int
) -> RtlPlan:
    """The axes from the first that moves to the last that moves make a block.

    A shuffle of channels keeps one pixel, a matrix that is turned all of itself.
    """
    shape = source.shape
    # axes of one position move for free
    moved = [axis for axis in axes if shape[axis] > 1]
    stays = sorted(moved)
    ahead = 0
    while ahead < len(moved) and moved[ahead] == stays[ahead]:
        ahead += 1
    behind = 0
    while behind < len(moved) - ahead and moved[-1 - behind] == stays[-1 - behind]:
        behind += 1
    middle = moved[ahead : len(moved) - behind]
    run = prod(shape[axis] for axis in moved[len(moved) - behind :])
    lanes = dividing(lanes, gcd(run, gcd(shape[-1], output.shape[-1])))
    strides = strides_of(shape)
    loops = [(run // lanes, 1)]
    loops += [(shape[axis], strides[axis] // lanes) for axis in reversed(middle)]
    block = run // lanes * prod(shape[axis] for axis in middle)
    return gather_module("transpose", port(source, lanes), port(output, lanes), block, loops)


def repeated(info: TensorInfo, lanes: int, block: int, times: int) -> Port:
    """A stream of a tensor whose blocks of beats are each given ``times`` times."""
    channels = info.shape[-1]
    return Port(lanes, channels, channels, pixels(info), info.type.bits, block, times)
