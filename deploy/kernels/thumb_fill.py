# SPDX-License-Identifier: Apache-2.0
"""Plans how the planes of depthwise layers are gathered on cores without DSP.

One channel at a time, byte by byte; or two channels, whose bytes lie side by side in the image, so
that one load of a half-word serves both and two masks take them apart. A mask also keeps the one
lane whose image row exists where a window stands on the border, so no other code is needed there.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...hw_models.thumb_core import Core
from ...hw_models.thumb_planes import BOTH, LOW, UPPER, Plane
from ..ops.base import Helper, TensorInfo

PART_WORDS = {False: 4, True: 6}
"""Numbers of one part of a plane, by whether two channels are gathered together."""
MASKS = {BOTH: 0x00FF00FF, LOW: 0x000000FF, UPPER: 0x00FF0000}
"""The bytes of the lanes that come from the image."""


@dataclass(frozen=True)
class Fill:
    """How the planes of a layer are filled.

    Attributes:
        helper: the function.
        paired: whether it fills the planes of two channels.
        words: of the scratch memory.
        numbers: what the function reads, in order, by name.
        parts: numbers of every part of a plane.
    """

    helper: Helper
    paired: bool
    words: int
    numbers: dict[str, int]
    parts: tuple[int, ...]


def fill_of(core: Core, source: TensorInfo, centre: int, pad_value: int, plane: Plane) -> Fill:
    """How the planes of a layer's channels are filled.

    Args:
        core: the family.
        source: the image.
        centre: subtracted from every activation.
        pad_value: activation outside the image.
        plane: its geometry.
    """
    fixed = {
        BOTH: -centre * 65537,
        LOW: (pad_value - centre) * 65536 - centre,
        UPPER: pad_value - centre - centre * 65536,
    }
    if plane.paired(core, source.shape[2], source.type.signed):
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
        "line": line - (both * pitch if jump else 0), "entry": skip * size,
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
    return Fill(("thumb_plane", (("k", values),)), False, plane.words, numbers, parts)


def _of_two(core: Core, source: TensorInfo, plane: Plane, fixed: dict[int, int]) -> Fill:
    """Two channels together."""
    pitch, columns = source.shape[2], plane.filled
    line = source.shape[1] * pitch
    signed = source.type.signed
    # bytes are taken apart unsigned
    added = {kind: fixed[kind] - 128 * (kind != UPPER) - (128 << 16) * (kind != LOW)
             for kind in fixed} if signed else fixed  # fmt: skip
    kinds = {kind for kind, *_ in plane.segments}
    moved = any(added[kind] for kind in kinds)
    one, two = columns % 2, columns // 2
    instructions = 10 + 2 * moved if core.thumb1 else 12 + 4 * moved + 2 * signed
    entry = -columns % 4 * 2 if core.thumb1 else -two % 2 * 4
    numbers = {
        "fill": pitch, "columns": columns, "line": line, "next": plane.width,
        "second": plane.words, "second_bytes": 4 * plane.words, "entry": entry * instructions,
        "run": columns * pitch if core.thumb1 else 2 * two * pitch,
        "run_line": line if core.thumb1 else line - columns * pitch,
        "run_next": 4 * (plane.width - columns),
    }  # fmt: skip
    values = {
        "act": source.type.c_name, "thumb1": core.thumb1, "signed": signed, "moved": moved,
        "jump": 0 if core.thumb1 else pitch, "odd": one and not core.thumb1,
        "ident": f"planes_{source.type.c_name[0]}{'m' if moved else ''}"
                 + ("" if core.thumb1 else f"c{pitch}{'o' if one else ''}"),
    }  # fmt: skip
    parts = tuple(
        number
        for kind, first, at, count in plane.segments
        for number in (first * line, at * plane.at_step + plane.left, count,
                       plane.apart * line if kind == BOTH else 0, MASKS[kind], added[kind])
    )  # fmt: skip
    return Fill(("thumb_planes", (("k", values),)), True, 2 * plane.words, numbers, parts)
