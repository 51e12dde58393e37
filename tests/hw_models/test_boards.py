# SPDX-License-Identifier: Apache-2.0
"""Boards: sources for every figure, and waits for flash against sums done by hand."""

import pytest

from adaqat import hw_models
from adaqat.hw_models import HwModelError, timing_names
from adaqat.hw_models.board import board_names, boards_of, default_board, load_board
from adaqat.hw_models.memory import Flash, passes
from adaqat.hw_models.work import Work, conv2d_work, linear_work


def test_every_measurable_core_has_one_default_board() -> None:
    for core in timing_names():
        boards = [load_board(name) for name in boards_of(core)]
        assert [board.default for board in boards].count(True) == 1
        found = default_board(core)
        assert found is not None and found.core == core
    assert default_board("z80") is None


@pytest.mark.parametrize("name", board_names())
def test_every_figure_has_a_source(name: str) -> None:
    board = load_board(name)
    assert board.clock_source and board.energy.source
    assert (board.energy.nj_per_cycle is None) == (board.energy.status == "unknown")
    assert board.flash is None or board.flash.source


def test_published_energy_is_what_the_source_says() -> None:
    # MLPerf Tiny v1.2, image classification: 6919 uJ in 165.1 ms at 120 MHz.
    nj = 6919e3 / (165.1e-3 * 120e6)
    assert load_board("nucleo-l4r5zi").energy.nj_per_cycle == pytest.approx(nj, rel=1e-3)
    # MSPM0G3507 datasheet: 96 uA/MHz at 3.3 V; STM32F407: 238 uA/MHz; STM32U575: 19.5 uA/MHz.
    for name, micro in (
        ("nucleo-g0b1re", 96),
        ("stm32f407-discovery", 238),
        ("nucleo-u575zi-q", 19.5),
    ):
        found = load_board(name).energy.nj_per_cycle
        assert found == pytest.approx(micro * 1e-3 * 3.3, rel=1e-6)


def test_unknown_board() -> None:
    with pytest.raises(HwModelError, match="there is no 'z80'; known are alif"):
        load_board("z80")


def flash(wait: int, line: int, data: int, code: int) -> Flash:
    return Flash(
        wait_states=wait,
        line_bytes=line,
        data_cache_bytes=data,
        code_cache_bytes=code,
        status="published",
        source="made up",
    )


def test_waits_of_cached_flash_by_hand() -> None:
    memory = flash(5, 8, 256, 1024)
    # 200 bytes fit 256: 25 lines once. 100 bytes of code: 13 lines. 5 * (25 + 13).
    assert memory.stall_cycles(200, 40, 100, 1e6) == 190
    # 1000 bytes do not: 125 lines in each of 40 passes. 5 * (5000 + 13).
    assert memory.stall_cycles(1000, 40, 100, 1e6) == 25065
    assert flash(0, 8, 256, 1024).stall_cycles(1000, 40, 100, 1e6) == 0


def test_waits_of_flash_without_a_cache_by_hand() -> None:
    # Every load of 4 bytes and every taken branch: 2 * (ceil(10 / 4) * 6 + 100).
    assert flash(2, 8, 0, 0).stall_cycles(10, 6, 5000, 100) == 236


def test_passes_by_hand() -> None:
    shape = ((5, 5, 8), (5, 5, 4), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1, 8, 8, False)
    assert passes(conv2d_work(*shape)) == 25, "once a pixel"
    assert passes(conv2d_work(*shape, ("dsp",))) == 13, "once for two pixels"
    assert passes(linear_work(64, 10, 8, 8, False)) == 1
    assert passes(Work("add", 0, 8, False, {"element": 5})) == 1


def test_a_fully_connected_network_waits_as_long_as_published() -> None:
    """MLPerf Tiny anomaly detection on NUCLEO-L4R5ZI: 0.68 M measured, 0.51 M without waits."""
    memory = load_board("nucleo-l4r5zi").flash
    assert memory is not None
    layers = [(640, 128), *[(128, 128)] * 3, (128, 8), (8, 128), *[(128, 128)] * 3, (128, 640)]
    stalls = sum(memory.stall_cycles(n * m + 7 * m, 1, 0, 0) for n, m in layers)
    assert stalls == pytest.approx(0.68e6 - 0.51e6, rel=0.05)


def test_a_board_changes_clock_energy_and_waits() -> None:
    plain, there = hw_models.load("cortex-m4"), hw_models.load("cortex-m4", "stm32f407-discovery")
    work = linear_work(640, 128, 8, 8, False, plain.kernels)
    zero, waits = plain.node_cost(work), there.node_cost(work)
    assert (zero.cycles, zero.stall_cycles) == (waits.cycles, 0.0)
    assert waits.stall_cycles > 5 * 640 * 128 / 16
    assert waits.cycles is not None
    assert there.latency_ms(waits.cycles, waits.stall_cycles) == pytest.approx(
        (waits.cycles + waits.stall_cycles) / 168e3
    )
    assert waits.energy_uj == pytest.approx((waits.cycles + waits.stall_cycles) * 0.7854e-3)


def test_a_board_of_another_core_is_refused() -> None:
    with pytest.raises(HwModelError, match=r"nucleo-g0b1re: has a cortex-m0plus.*nucleo-l4r5zi"):
        hw_models.load("cortex-m4", "nucleo-g0b1re")
