# SPDX-License-Identifier: Apache-2.0
"""What the depthwise kernels of MVE share: planes of signed bytes, and weights as signed bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...hw_models.mve_geometry import gather_of
from ..ops.base import CArray, CPlan, Helper, TensorInfo
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..ops.weighted import accumulator_bounds
from ..requant import Int64
from ..types import IntType
from . import mve_packing as mve

SMALLEST, LARGEST = -128, 127
"""What a signed byte holds."""
HALF_MIN, HALF_MAX = -(1 << 15), (1 << 15) - 1
"""What a signed half-word holds."""


def flip_of(act: IntType) -> int:
    """Bits flipped to make an activation a signed byte: unsigned codes of eight bits lose 128."""
    return mve.FLIP if not act.signed and act.bits == 8 else 0


NUMBERS = (
    "channels", "width", "height", "gap", "start", "second", "multiplier", "record", "filled",
    "pad_byte",
)  # fmt: skip
"""What the shared driver reads of a layer, before the words for its kernel function; the gather
function reads the first six."""


@dataclass(frozen=True)
class Planes:
    """Where the planes of a layer lie in its scratch memory.

    Attributes:
        gap: bytes between the rows of an image in its plane.
        start: bytes before the image.
        second: bytes from the plane to that of the other alignment, 0 for none.
        filled: bytes that padding surrounds, 0 without padding.
        size: bytes of scratch memory.
    """

    gap: int
    start: int
    second: int
    filled: int
    size: int


def plan_of(
    op: DepthwiseConv2d, source: TensorInfo, outputs: int, planes: Planes, kernel: Helper,
    record: list[int], job: Sequence[int],
) -> CPlan:  # fmt: skip
    """The plan around a kernel function.

    Args:
        op: the layer.
        source: its input.
        outputs: channels of its output.
        planes: its scratch memory.
        kernel: the function that makes one output channel.
        record: words of all channels.
        job: words for the kernel function.
    """
    channels = source.shape[2]
    flip = flip_of(source.type)
    gather = gather_helper(source, planes.gap, second=planes.second > 0)
    found = gather_of(source.shape[0], source.shape[1], channels, planes.gap)
    numbers = {
        "channels": channels,
        "multiplier": outputs // channels,
        "record": len(record) // outputs,
        "start": planes.start,
        "width": found.width,
        "height": found.rows // 2 if found.twice else found.rows,
        "gap": planes.gap,
        # its rows start two bytes earlier
        "second": planes.second - 2 if planes.second else 0,
        "filled": planes.filled,
        "pad_byte": (op.pad_value ^ flip) % 256,
    }
    words = (*(numbers[name] for name in NUMBERS), *(value % mve.WORD for value in job))
    at = {name: place for place, name in enumerate(NUMBERS)}
    return CPlan(
        "depthwise_conv2d",
        {"taps": mve.tag_of(kernel), "gather": mve.tag_of(gather)},
        (
            CArray("w", "uint32_t", tuple(record), "by channel: signed weights, bias, M, z"),
            CArray("j", "uint32_t", words,
                   ", ".join(NUMBERS) + "; offsets of outputs and taps, counts and steps"),
        ),
        (("mve_guard", ()), ("mve_kept", ()), ("mve_finish", ()), ("mve_fill", ()), gather, kernel,
         ("mve_planes", (("v", {"at": at, "numbers": len(NUMBERS)}),))),
        planes.size,
        op.proof([source]),
    )  # fmt: skip


def gather_helper(source: TensorInfo, gap: int, *, second: bool = False) -> Helper:
    """The function that copies one channel into its plane; ``second``: and one two bytes on."""
    height, width, channels = source.shape
    found = gather_of(height, width, channels, gap)
    values: dict[str, object] = {
        # bytes between the two rows of a pass
        "twice": found.twice and width + gap,
        "double": found.double,
        "straight": found.straight,
        "rest": found.rest,
        "flip": flip_of(source.type),
        "second": second,
    }
    return mve.helper("mve_gather", "gather", values)


def tap_weights(op: DepthwiseConv2d) -> tuple[Int64, int]:
    """(weights ``[passes, outputs, taps]`` within a signed byte, left shift of their sums).

    The layer's shift goes into the weights where they stay within a byte. Weights of nine bits are
    2*c + 1, in three passes: c, c and ones.
    """
    values = op.weights.values.reshape(len(op.requant.bias), -1)
    p = op.requant.p
    shifted = values << p
    if shifted.min() >= SMALLEST and shifted.max() <= LARGEST:
        return shifted[None], 0
    if values.min() >= SMALLEST and values.max() <= LARGEST:
        return values[None], p
    half = (values - 1) >> 1
    return np.stack([half, half, values - 2 * half]), p


def result_range(op: DepthwiseConv2d, act: IntType) -> tuple[int, int]:
    """Lowest and highest result before the clamp, for any inputs in range."""
    free = replace(op.requant, lo=-mve.WORD, hi=mve.WORD)
    ends = [free.apply(acc[None]) for acc in accumulator_bounds(op.weights.values, act)]
    return int(np.min(ends)), int(np.max(ends))


def fit_half_words(found: tuple[int, int]) -> bool:
    """Whether results may be narrowed to half-words without saturation."""
    return HALF_MIN <= found[0] and found[1] <= HALF_MAX


def scaled(op: DepthwiseConv2d, shift: int, patches: int) -> bool:
    """Whether a vector of 2^shift scales the sums while bias and M/2 stand in core registers.

    VQRDMULH by a core register computes ``(2*t*(M/2) + 2^31) >> 32``, which is VRMULH by M where
    every M is even; that frees the vector register that the scale needs. Only single patches leave
    a core register free.
    """
    even = not ((op.requant.m << (32 - op.requant.s)) & 1).any()
    return shift > 0 and patches == 1 and bool(even)


def records(op: DepthwiseConv2d, data: Int64, flip: int, *, halved: bool) -> list[int]:
    """Words by output channel: its weight bytes, then bias, M and perhaps z.

    Args:
        op: the layer.
        data: ``[outputs, bytes]``, signed weights, a multiple of four bytes.
        flip: what activations lose, see `flip_of`.
        halved: store M/2, see `scaled`.
    """
    rule = op.requant
    total = op.weights.values.reshape(len(rule.bias), -1).sum(axis=1)
    columns = [rule.bias + ((flip * total) << rule.p), (rule.m << (32 - rule.s)) >> halved]
    if mve.same_zero(rule) is None:
        columns.append(rule.z)
    words = np.frombuffer(data.astype(np.int8).tobytes(), "<u4").reshape(len(data), -1)
    constants = np.stack(columns, axis=1) % mve.WORD
    found: list[int] = np.concatenate([words.astype(np.int64), constants], axis=1).ravel().tolist()
    return found
