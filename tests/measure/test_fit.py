# SPDX-License-Identifier: Apache-2.0
"""Fitting prices to counts, on data whose answer is known."""

import numpy as np
import pytest

from adaqat.deploy.nonnegative import fit_relative, solve_nonnegative
from adaqat.deploy.row_fit import Sample, common_functions, fit_row, fit_samples
from adaqat.hw_models.work import Work


def test_exact_prices_are_found() -> None:
    rng = np.random.default_rng(0)
    counts = rng.uniform(1, 1000, (12, 4))
    prices = np.array([4.0, 0.0, 27.5, 110.0])
    found, errors = fit_relative(counts, counts @ prices)
    assert np.allclose(found, prices, atol=1e-6)
    assert errors.max() < 1e-9


def test_a_negative_optimum_becomes_zero() -> None:
    # The unrestricted solution is (1, -1): more of the second feature would be rewarded.
    counts = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 1.0]])
    found = solve_nonnegative(counts, counts @ np.array([1.0, -1.0]))
    assert found[1] == 0
    assert found[0] == pytest.approx(2 / 6 + 1 / 6)


@pytest.mark.parametrize("seed", range(20))
def test_optimality_conditions(seed: int) -> None:
    """Kuhn-Tucker: no gradient on positive prices, none pointing inwards on zero ones."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(15, 6)), rng.normal(size=15)
    x = solve_nonnegative(a, b)
    gradient = a.T @ (b - a @ x)
    assert (x >= 0).all()
    assert np.abs(gradient[x > 0]).max(initial=0) < 1e-9
    assert gradient[x == 0].max(initial=-1) < 1e-9


def test_one_odd_sample_does_not_bend_the_rest() -> None:
    rng = np.random.default_rng(3)
    counts = rng.uniform(10, 1000, (14, 3))
    cost = counts @ np.array([4.0, 25.0, 60.0])
    cost[5] *= 0.7
    found, errors = fit_relative(counts, cost)
    assert np.allclose(found, [4.0, 25.0, 60.0], rtol=0.01)
    assert int(np.argmax(errors)) == 5
    assert np.median(errors) < 0.002


def test_samples_of_several_forms_share_their_prices() -> None:
    def sample(**features: int) -> Sample:
        cost = sum({"mac": 4, "gather": 5, "sum": 3}[name] * n for name, n in features.items())
        return Sample(Work("conv2d", 4, 8, False, features), cost, 1.5 * cost, 300, {}, 40)

    found, errors, cycle_errors = fit_samples(
        [
            sample(mac=100, gather=30),
            sample(mac=250, gather=20),
            sample(mac=90, sum=40),
            sample(mac=400, sum=10),
        ]
    )
    assert found["mac"] == pytest.approx((4, 6), rel=1e-4)
    assert found["gather"] == pytest.approx((5, 7.5), rel=1e-4)
    assert found["sum"] == pytest.approx((3, 4.5), rel=1e-4)
    assert max(errors.max(), cycle_errors.max()) < 1e-6


def test_a_function_that_all_nodes_call_is_shared_and_others_are_their_own() -> None:
    work = Work("conv2d", 4, 8, False, {"mac": 1}, form="border")
    samples = [
        Sample(work, 10, 15.0, 100 + i, {"dot": 80 + i, f"tile{i}": 40}, 7) for i in range(4)
    ]
    assert common_functions(samples) == {"dot": 83}
    row = fit_row("conv2d", 4, (8,), False, samples)
    assert row.shared == {"dot": 83}
    assert row.code_bytes == {"border": 143}, "upper quartile of 140..143"


def test_stored_units_are_priced_in_bytes() -> None:
    samples = [
        Sample(
            Work("conv2d", 4, 8, False, {"mac": 1}, stored={"code": 100 * n, "channel": n * n}),
            10, 15.0, 100, {}, 50 * n + 8 * n * n,
        )
        for n in range(1, 6)
    ]  # fmt: skip
    assert fit_row("conv2d", 4, (8,), False, samples).stored == {"channel": 8.0, "code": 0.5}
