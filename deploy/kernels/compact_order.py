# SPDX-License-Identifier: Apache-2.0
"""How far a result may reach into the memory of its own input, proved from the order of accesses.

The compact kernels write their result from its first byte to its last, one step after another, and
what a step reads follows from the shape. A write must never reach a byte that is still to be read:
for all steps k (and all j > k where a step reads everything before it writes) ::

    result + end[k] <= input + min(first[j] for j >= k)

with ``end[k]`` the bytes written up to step k and ``first[j]`` the first byte that step j reads.
The largest ``end[k] - min(first[j])`` is the smallest legal distance of input and result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..ops.base import Window

Int64 = NDArray[np.int64]


def distance(first: Int64, end: Int64, *, read_first: bool, input_bytes: int) -> int:
    """Smallest legal ``address of the input - address of the result``, in bytes.

    Args:
        first: ``[steps]``, the first byte of the input that each step reads.
        end: ``[steps]``, one past the last byte of the result written up to each step.
        read_first: whether a step has read everything before it writes.
        input_bytes: size of the input; minus that much any result lies behind it.
    """
    lowest = np.minimum.accumulate(first[::-1])[::-1]
    if read_first:
        lowest, end = lowest[1:], end[:-1]
    return int((end - lowest).max(initial=-input_bytes))


def window_distance(
    window: Window,
    source: tuple[int, ...],
    result: tuple[int, ...],
    *,
    read_first: bool,
) -> int:
    """The distance for a kernel whose steps are output pixels, row by row.

    Args:
        window: its geometry.
        source: (height, width, channels) of the input, one byte an element.
        result: the same of the output.
        read_first: whether a pixel's window is read before its first channel is written.
    """
    height, width, channels = source
    rows = np.clip(np.arange(result[0]) * window.stride[0] - window.pad[0], 0, height - 1)
    columns = np.clip(np.arange(result[1]) * window.stride[1] - window.pad[1], 0, width - 1)
    first = (rows[:, None] * width + columns[None, :]).reshape(-1) * channels
    end = (np.arange(len(first)) + 1) * result[2]
    return distance(
        first, end, read_first=read_first, input_bytes=height * width * channels
    )


def order_proof(apart: int, what: str) -> str:
    """The comment line of a kernel's order."""
    return f"element order: safe where address of {what} - address of the result >= {apart}"
