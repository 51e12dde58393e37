# SPDX-License-Identifier: Apache-2.0
"""Boards: every core with a cycle table has one, and energy always has a source."""

import pytest

from adaqat.hw_models import HwModelError, timing_names
from adaqat.hw_models.board import load_board


def test_every_measurable_core_has_a_board() -> None:
    for core in timing_names():
        board = load_board(core)
        assert board.core == core
        assert board.energy.source
        assert (board.energy.nj_per_cycle is None) == (board.energy.status == "unknown")


def test_published_energy_is_what_the_source_says() -> None:
    # MLPerf Tiny v1.2, image classification: 6919 uJ in 165.1 ms at 120 MHz.
    nj = 6919e3 / (165.1e-3 * 120e6)
    assert load_board("cortex-m4").energy.nj_per_cycle == pytest.approx(nj, rel=1e-3)
    # MSPM0G3507 datasheet: 96 uA/MHz at 3.3 V.
    assert load_board("cortex-m0plus").energy.nj_per_cycle == pytest.approx(96e-3 * 3.3, rel=1e-6)


def test_unknown_board() -> None:
    with pytest.raises(HwModelError, match="there is no 'z80'; known are cortex-m0"):
        load_board("z80")
