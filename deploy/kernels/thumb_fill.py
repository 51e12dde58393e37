# SPDX-License-Identifier: Apache-2.0
"""Plans how the planes of depthwise layers are gathered on cores without DSP.

One channel at a time, byte by byte; or two channels, whose bytes lie side by side in the image, so
that one load of a half-word serves both and two masks take them apart. A mask also keeps the one
lane whose image row exists where a window stands on the border, so no other code is needed there
unless what lies outside takes a constant that the rest does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...hw_models.rv32_costs import COLUMNS, column_loop, second_in_reach
from ...hw_models.thumb_core import Core
from ...hw_models.thumb_costs import PAIR_UNROLL, pair_loop
from ...hw_models.thumb_planes import BOTH, LOW, REACH, UPPER, Plane
from ..ops.base import Helper, TensorInfo

PART_WORDS = {False: 4, True: 6}
"""Numbers of one part of a plane, by whether two channels are gathered together."""
LANES = {BOTH: 65537, LOW: 1, UPPER: 65536}
"""A 1 in every lane that comes from the image."""


@dataclass(frozen=True)
class Fill:
    """How the planes of a layer are filled.

    Attributes:
        helper: the function.
        paired: whether it fills the planes of two channels.
        edges: whether words with a lane outside the image have a function of their own.
        words: of the scratch memory.
        numbers: what the function reads, in order, by name.
        parts: numbers of every part of a plane.
    """

    helper: Helper
    paired: bool
    edges: bool
    words: int
    numbers: dict[str, int]
    parts: tuple[int, ...]


def fill_of(
    core: Core, source: TensorInfo, centre: int, pad_value: int, plane: Plane, paired: bool
) -> Fill:
    """How the planes of a layer's channels are filled.

    Args:
        core: the family.
        source: the image.
        centre: subtracted from every activation.
        pad_value: activation outside the image.
        plane: its geometry.
        paired: whether two channels are gathered together.
    """
    fixed = {
        BOTH: -centre * 65537,
        LOW: (pad_value - centre) * 65536 - centre,
        UPPER: pad_value - centre - centre * 65536,
    }
    if paired:
        return _of_two(core, source, plane, fixed)
    return _of_one(core, source, centre, plane, fixed)


def _of_one(
    core: Core, source: TensorInfo, centre: int, plane: Plane, fixed: dict[int, int]
) -> Fill:
    """One channel at a time."""
    line = source.shape[1] * source.shape[2]
    pitch = line if plane.flat else source.shape[2]
    jump = pitch if not core.thumb1 and pitch <= 255 else 0
    both = plane.both
    skip = -both % 4
    size = (6 + (centre != 0)) * 2 if core.thumb1 else (5 - (jump > 0) + (centre != 0)) * 4
    numbers = {
        "fill": plane.apart * line, "pitch": pitch, "start": -both * pitch,
        "line": line - (both * pitch if jump else 0),
        "entry": skip * size if core.assembly else both,
        "next": 4 * (plane.width - (both + skip if core.thumb1 else both)),
        "lead": 4 * skip if core.thumb1 else 0, "columns": plane.filled, "edge_line": line,
        "edge_next": plane.width, "fixed_low": fixed[LOW], "fixed_high": fixed[UPPER],
    }  # fmt: skip
    tag = f"m{-centre}" if centre < 0 else str(centre)
    values = {
        "act": source.type.c_name, "centre": centre, "words": (centre * 65537) & 0xFFFFFFFF,
        "jump": jump, "thumb1": core.thumb1, "flat": plane.flat,
        "load": "ldrsb" if source.type.signed else "ldrb",
        "ident": f"plane_{source.type.c_name[0]}{tag}{f'c{jump}' if jump else ''}"
                 f"{'f' if plane.flat else ''}",
    }  # fmt: skip
    parts = tuple(
        number
        for kind, first, at, count in plane.segments
        for number in (kind, first * line, at * plane.at_step + plane.left, count)
    )
    return Fill(("thumb_plane", (("k", values),)), False, True, plane.words, numbers, parts)


def _of_two(core: Core, source: TensorInfo, plane: Plane, fixed: dict[int, int]) -> Fill:
    """Two channels together."""
    pitch, columns = source.shape[2], plane.filled
    line = source.shape[1] * pitch
    low, top = source.type.lo, source.type.hi - source.type.lo
    # bytes are taken apart unsigned, as what lies above the lowest code
    added = {kind: fixed[kind] + low * LANES[kind] for kind in fixed}
    # unsigned codes fill their bytes: nothing lies above them
    whole = low == 0 or top == 255
    kinds = {kind for kind, *_ in plane.segments}
    moved = BOTH in kinds and added[BOTH] != 0
    outside = [] if moved else [kind for kind in (LOW, UPPER) if kind in kinds and added[kind]]
    edges, shifts = bool(outside), {LOW: 0, UPPER: 16}
    rest = line - columns * pitch
    numbers = {
        "fill": pitch, "columns": columns, "line": line, "next": plane.width,
        "second": plane.words, "second_bytes": 4 * plane.words,
        "entry": -columns % PAIR_UNROLL * 2 * (10 + 2 * moved + 2 * (low < 0)),
        "run": columns * pitch, "run_line": line if core.thumb1 else rest,
        "run_next": 4 * (plane.width - columns), "sign": -low * 0x01010101,
    }  # fmt: skip
    if core.thumb1:
        skip = -columns % 4
        entry = skip * 2 * (6 + (low < 0) + (not whole))
        numbers |= {"top": top, "edge_lead": 4 * skip, "edge_entry": entry}
    values = {
        "act": source.type.c_name, "thumb1": core.thumb1, "moved": moved,
        "low": -low * 65537, "sign": -low * 0x01010101,
        "edges": edges, "edge_shift": shifts[outside[0]] if len(outside) == 1 else None,
        **_line(core, plane, pitch, rest, whole),
    }  # fmt: skip
    tag = f"{source.type.c_name[0]}{-low or ''}{'m' if moved else ''}"
    tag += "e" + "".join(" lh"[kind] for kind in outside) if edges else ""
    place = "" if core.thumb1 else f"c{pitch}n{columns}x{plane.width}{f'r{rest}' if rest else ''}"
    place += f"w{values['words']}" if values.get("words") else ""
    values["ident"] = f"planes_{tag}{place}"
    parts = tuple(
        number
        for kind, first, at, count in plane.segments
        for number in (
            first * line, at * plane.at_step + plane.left, count,
            *((shifts[kind], 0, fixed[kind]) if kind in outside else
              (plane.apart * line if kind == BOTH else 0, top * LANES[kind], added[kind])),
        )
    )  # fmt: skip
    return Fill(("thumb_planes", (("k", values),)), True, edges, 2 * plane.words, numbers, parts)


def _line(core: Core, plane: Plane, pitch: int, rest: int, whole: bool) -> dict[str, Any]:
    """How one line goes, all literals, but on ARMv6-M; ``whole``: codes take whole bytes."""
    if core.thumb1:
        return {"unrolled": PAIR_UNROLL, "bytes": whole}
    if not core.assembly:
        rounds, straight = column_loop(plane.filled)
        return {
            "jump": pitch, "rounds": rounds, "unrolled": COLUMNS, "straight": straight,
            "rest": rest, "step": plane.width - plane.filled,
            "words": plane.words if second_in_reach(plane.filled, plane.words) else 0,
        }  # fmt: skip
    # loads and stores step on where they can
    loop = pair_loop(plane.filled)
    step = 4 * (plane.width - plane.filled)
    straight = loop.straight + loop.odd > 0
    image = straight and pitch + rest <= 255
    stored = straight and (8 + step <= 1020 if not loop.odd else 4 + step <= 255)
    return {
        "jump": pitch, "rounds": loop.rounds, "unrolled": loop.unrolled,
        "straight": loop.straight, "odd": loop.odd, "far": not image and rest > REACH,
        "fold_image": rest if image else 0, "image_step": 0 if image else rest,
        "fold_plane": step if stored else 0, "plane_step": 0 if stored else step,
    }  # fmt: skip
