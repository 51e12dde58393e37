# SPDX-License-Identifier: Apache-2.0
"""Which pixels a window needs and releases, against a slow look at every tap."""

from __future__ import annotations

import itertools

import pytest

from adaqat.deploy.ops.base import Window
from adaqat.deploy.rtl.window import Ring

CASES = [
    (height, width, Window(kernel, stride, dilation, pad))
    for height, width in ((5, 7), (8, 3))
    for kernel in ((1, 1), (3, 3), (2, 3))
    for stride in ((1, 1), (2, 1), (3, 2))
    for dilation in ((1, 1), (2, 1))
    for pad in ((0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 2, 0))
]


@pytest.mark.parametrize(("height", "width", "window"), CASES)
def test_need_and_release_cover_every_tap(height, width, window):
    rows, columns = window.out_hw((height, width))
    if rows < 1 or columns < 1:
        pytest.skip("no output pixel")
    ring = Ring.over(height, width, window)
    need, release = ring.need(), ring.release()
    assert len(need) == len(release) == rows * columns
    assert release == sorted(release) and release[-1] == height * width
    taps = []
    for y, x in itertools.product(range(rows), range(columns)):
        mine = set()
        for ky, kx in itertools.product(range(window.kernel[0]), range(window.kernel[1])):
            iy = y * window.stride[0] + ky * window.dilation[0] - window.pad[0]
            ix = x * window.stride[1] + kx * window.dilation[1] - window.pad[1]
            if 0 <= iy < height and 0 <= ix < width:
                mine.add(iy * width + ix)
        taps.append(mine)
    for i, mine in enumerate(taps):
        assert not mine or need[i] > max(mine), "starts before its last pixel is there"
        later = set().union(*taps[i + 1 :]) if i + 1 < len(taps) else set()
        assert not later or release[i] <= min(later), "releases a pixel that is still needed"
        oldest = release[i - 1] if i else 0
        assert need[i] - oldest <= ring.capacity, "waits for a pixel that has no room"


@pytest.mark.parametrize(("height", "width", "window"), CASES[::5])
@pytest.mark.parametrize("ahead", [0, 1])
def test_differences_of_the_ring_stay_within_their_bounds(height, width, window, ahead):
    """Input as late and as early as it may come, over three frames."""
    if min(window.out_hw((height, width))) < 1:
        pytest.skip("no output pixel")
    ring = Ring.over(height, width, window, ahead)
    low, high = ring.spare
    seen, free, have = [], 0, 0
    frames = [
        (ring.pixels * frame + need, ring.pixels * frame + release)
        for frame in range(3)
        for need, release in zip(ring.need(), ring.release(), strict=True)
    ]
    for need, release in frames:
        # before it starts: nothing more than the last window asked for, or all there is room for
        seen += [have - need, free + ring.capacity - need]
        assert free + ring.capacity >= need
        # rows below the image need less again
        have, free = max(have, need), release
        assert 0 < free + ring.capacity - have <= ring.space
    assert low <= min(seen) and max(seen) <= high
    assert min(seen) == low, "a bound that nothing reaches is a wire too many"
