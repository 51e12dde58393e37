# SPDX-License-Identifier: Apache-2.0
"""Every branch of the update rules, on numbers alone."""

from __future__ import annotations

import pytest

from adaqat.deploy import UsageError
from adaqat.train.bits import BitWidth
from adaqat.train.rule import damage_curve, normalised_update, paper_update


def width(bits: int = 8, **options: int) -> BitWidth:
    return BitWidth("w:toy", "weight", bits, **options)


def toy_loss(bits: int) -> float:
    """A 4 -> 3 step of 0.03 nats and a 3 -> 2 step of 0.3 nats; free above."""
    return {1: 2.0, 2: 0.33, 3: 0.03}.get(bits, 0.0)


def search(freeze: str, steps: int = 4000, hardware: float = 0.08) -> BitWidth:
    w = width(6)
    for _ in range(steps):
        if w.frozen:
            break
        n = w.integer
        paper_update(w, toy_loss(n), toy_loss(n - 1), hardware, freeze=freeze)
    return w


def test_a_free_bit_is_given_up() -> None:
    w = width()
    paper_update(w, 1.0, 1.0, 0.5)
    assert w.n == pytest.approx(8 - 0.1 * 0.5)
    assert w.integer == 8


def test_a_dear_bit_comes_back() -> None:
    w = width(4)
    w.n = 3.3
    paper_update(w, 1.0, 3.0, 0.5)
    assert w.n == pytest.approx(3.3 + 0.1 * 1.5)


def test_the_hardware_term_decides() -> None:
    kept, dropped = width(5), width(5)
    paper_update(kept, 1.0, 1.2, 0.1)
    paper_update(dropped, 1.0, 1.2, 0.3)
    assert kept.n >= 5 > dropped.n


def test_one_update_moves_half_a_bit_at_most() -> None:
    w = width()
    paper_update(w, 1.0, 1.0, 1e6)
    assert w.n == 7.5


def test_ceil_is_the_width() -> None:
    w = width(4)
    w.n = 3.001
    assert w.integer == 4
    w.n = 3.0
    assert w.integer == 3


def test_n_never_exceeds_the_cap() -> None:
    w = width()
    paper_update(w, 0.0, 100.0, 0.0)
    assert w.n == 8


def test_the_floor_pins_and_freezes() -> None:
    w = width(3)
    for _ in range(20):
        paper_update(w, 1.0, 1.0, 2.0)
    assert (w.integer, w.frozen) == (2, True)


def test_oscillation_is_by_construction_and_freezes_upper() -> None:
    w = search("upper")
    assert w.frozen and w.integer == 4
    assert w.crossings[3] == 11, "frozen when the count exceeds ten"


def test_freeze_lower_is_the_break_even_answer() -> None:
    w = search("lower")
    assert w.frozen and w.integer == 3


def test_break_even_never_freezes_by_counting() -> None:
    w = search("break_even")
    assert not w.frozen
    assert w.crossings[3] > 11
    assert w.n == pytest.approx(3, abs=0.3)


def test_unknown_freeze_rule() -> None:
    with pytest.raises(UsageError, match="freeze: 'never' found; upper, lower, break_even"):
        paper_update(width(), 0, 0, 0, freeze="never")


def test_crossings_count_rises_only() -> None:
    w = width(4)
    w.move(-1.0)
    w.move(+1.0)
    w.move(+0.0)
    assert w.crossings[3] == 1 and sum(w.crossings) == 1


def test_normalised_moves_are_alike_for_small_and_large_layers() -> None:
    small, large = width(), width()
    normalised_update(small, 0.0, 1e-6, 1e-6)
    normalised_update(large, 0.0, 1.0, 1.0)
    assert small.n == large.n == pytest.approx(7.6)


def test_normalised_moves_are_clipped_and_climb() -> None:
    w = width(4)
    normalised_update(w, 100.0, 1.0, 1.0)
    assert w.n == pytest.approx(4.4)
    normalised_update(w, 0.0, 1.0, 0.0)
    assert w.n == pytest.approx(4.4), "a width without cost stays"


def test_damage_falls_with_every_bit() -> None:
    curve = damage_curve({4: 0.02, 5: 0.0})
    values = [curve[bits] for bits in range(1, 9)]
    assert values == sorted(values, reverse=True) and len(set(values)) == 8
    assert curve[3] - curve[4] == pytest.approx(0.02)
    assert curve[2] - curve[3] == pytest.approx(0.08), "unseen bits cost four times more"
    assert damage_curve({})[8] == 0
