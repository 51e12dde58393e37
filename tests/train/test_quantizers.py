# SPDX-License-Identifier: Apache-2.0
"""Values, gradients and ranges of the quantisers."""

from __future__ import annotations

import pytest
import torch

from adaqat.deploy import UsageError
from adaqat.train.bits import BitWidth, override
from adaqat.train.quantizers import ActQuantizer, DorefaWeights, LsqWeights
from adaqat.train.ranges import act_ranges, weight_ranges
from adaqat.train.rounding import FakeQuant

WEIGHT = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(2))


def width(bits: int) -> BitWidth:
    return BitWidth("x", "weight", bits, lo=1)


def quantizers(bits: int) -> list[LsqWeights | DorefaWeights]:
    return [
        LsqWeights(width(bits), WEIGHT),
        LsqWeights(width(bits), WEIGHT, per_channel=False),
        DorefaWeights(width(bits), WEIGHT),
    ]


@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_mean_the_fake_quantised_weights(bits: int) -> None:
    for quantizer in quantizers(bits):
        codes, (step, offset) = quantizer.codes(WEIGHT), quantizer.grid
        assert codes.min() >= 0 and codes.max() < 1 << bits
        scale = quantizer.scale().reshape(-1, 1, 1, 1)
        torch.testing.assert_close(scale * (step * codes + offset), quantizer(WEIGHT))


def test_grids() -> None:
    assert [LsqWeights(width(b), WEIGHT).grid for b in (1, 2, 8)] == [(2, -1), (1, -2), (1, -128)]
    assert [DorefaWeights(width(b), WEIGHT).grid for b in (1, 2, 8)] == [
        (2, -1),
        (2, -3),
        (2, -255),
    ]


def test_halves_round_up() -> None:
    x = torch.tensor([0.5, 1.5, -0.5, -1.5, 2.49])
    out = FakeQuant.apply(x, torch.tensor(1.0), -4, 3, False)
    assert out.tolist() == [1, 2, 0, -1, 2]


def test_gradient_passes_inside_and_stops_outside() -> None:
    x = torch.tensor([-9.0, -1.2, 0.3, 9.0], requires_grad=True)
    scale = torch.tensor(1.0, requires_grad=True)
    FakeQuant.apply(x, scale, -4, 3, False).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0, 1, 1, 0]
    # LSQ: the limits outside, q - v inside
    assert scale.grad is not None
    assert float(scale.grad) == pytest.approx(-4 + 3 + (-1 + 1.2) + (0 - 0.3))


def test_pact_gradient_only_where_clipped() -> None:
    x = torch.tensor([-9.0, 1.3, 9.0])
    scale = torch.tensor(1.0, requires_grad=True)
    FakeQuant.apply(x, scale, 0, 3, True).sum().backward()
    assert scale.grad is not None and float(scale.grad) == 3


def test_pact_learns_the_clip_of_the_paper() -> None:
    quantizer = ActQuantizer(width(4), rule="pact")
    quantizer.is_signed.fill_(False)
    x = torch.tensor([1.0, 7.0, 8.0])
    quantizer(x, (0, float("inf"))).sum().backward()
    # d out / d log(range) = range for each of the two clipped values
    assert quantizer.log_range.grad is not None
    assert float(quantizer.log_range.grad) == pytest.approx(12.0, rel=1e-5)


def test_weights_get_gradients_at_every_width() -> None:
    for bits in range(1, 9):
        for quantizer in quantizers(bits):
            weight = WEIGHT.clone().requires_grad_()
            quantizer(weight).square().sum().backward()
            assert weight.grad is not None and torch.isfinite(weight.grad).all()
            assert float(weight.grad.abs().sum()) > 0


def test_refit_follows_the_table_and_keep_does_not() -> None:
    refit, keep = LsqWeights(width(8), WEIGHT), LsqWeights(width(8), WEIGHT, refit=False)
    at = {}
    for name, quantizer in (("refit", refit), ("keep", keep)):
        for bits in (8, 3):
            with override({quantizer.width: bits}):
                at[name, bits] = quantizer.scale() * 2 ** (bits - 1)
    torch.testing.assert_close(at["keep", 8], at["keep", 3])
    torch.testing.assert_close(at["refit", 3], weight_ranges(WEIGHT.reshape(6, -1))[:, 3])
    assert (at["refit", 3] != at["refit", 8]).all()


def test_learned_ranges_survive_a_width_change() -> None:
    quantizer = LsqWeights(width(8), WEIGHT)
    with torch.no_grad():
        quantizer.log_range += 0.5
    before = quantizer.scale() * 128
    quantizer.width.freeze(4)
    table = quantizer.table.exp()
    torch.testing.assert_close(quantizer.scale() * 8 / before, table[:, 4] / table[:, 8])


def test_dorefa_keeps_the_function_of_a_trained_layer() -> None:
    weight = WEIGHT / 10
    out = DorefaWeights(width(8), weight)(weight)
    assert float((out - weight).norm() / weight.norm()) < 0.02


def test_a_search_finds_the_best_range() -> None:
    sample = torch.randn(4000, generator=torch.Generator().manual_seed(0)).relu()
    ranges = act_ranges(sample, False)
    assert (ranges[2:] >= ranges[1:-1] - 1e-6).all(), "more bits reach further"

    def error(top: float) -> float:
        scale = top / 3
        return float(
            ((sample / scale).add(0.5).floor().clamp(0, 3) * scale - sample).square().sum()
        )

    assert error(float(ranges[2])) <= min(error(float(sample.max()) * r) for r in (0.3, 0.6, 1.0))


def test_signed_and_unsigned_code_limits() -> None:
    quantizer = ActQuantizer(width(3), rule="lsq")
    inf = float("inf")
    assert quantizer.limits((-inf, inf)) == (-4, 3)
    assert quantizer.limits((0, inf)) == (0, 3)
    quantizer.is_signed.fill_(False)
    assert quantizer.limits((0, inf)) == (0, 7)
    assert quantizer.limits((0, 3.2)) == (0, 4), "range 6 over 7 codes: 3.2 is code 3.7"


def test_fused_clamp_equals_clamp_then_quantise() -> None:
    quantizer = ActQuantizer(width(5), rule="lsq")
    x = torch.linspace(-9, 9, 500)
    free = quantizer(x.clamp(-1.0, 2.5), (-float("inf"), float("inf")))
    torch.testing.assert_close(quantizer(x, (-1.0, 2.5)), free, rtol=0, atol=0)


def test_unknown_rule() -> None:
    with pytest.raises(UsageError, match="'tanh' found; pact and lsq"):
        ActQuantizer(width(4), rule="tanh")


def test_pieces_and_layouts_give_what_the_whole_gives() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(9, 16, 33, 32, generator=generator)
    x[0, 0, 0, :6] = torch.tensor([0.0, 3.75, 3.7500002, -1.0, 0.125, 0.375])  # limits and ties
    upstream = torch.randn(x.shape, generator=generator)
    for clip_only in (False, True):
        scale = torch.tensor(0.25, requires_grad=True)
        v = x / 0.25
        q = (v + 0.5).floor().clamp(0, 15)
        inside = v.clamp(0, 15) == v
        part = q if clip_only else v
        wanted = float((upstream * q - upstream * inside * part).double().sum())
        for layout in (torch.contiguous_format, torch.channels_last):
            leaf = x.clone(memory_format=layout).requires_grad_()
            out = FakeQuant.apply(leaf, scale, 0, 15, clip_only)
            assert torch.equal(out, q * 0.25)
            assert out.is_contiguous(memory_format=layout)
            leaf.grad = scale.grad = None
            out.backward(upstream)
            assert leaf.grad is not None and torch.equal(leaf.grad, upstream * inside)
            assert scale.grad is not None
            assert float(scale.grad) == pytest.approx(wanted, rel=1e-4)


def test_bfloat16_is_quantised_in_float32() -> None:
    x = torch.linspace(-3, 20, 4096).bfloat16()
    scale = torch.tensor(0.1)
    out = FakeQuant.apply(x, scale, 0, 200, False)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, FakeQuant.apply(x.float(), scale, 0, 200, False).bfloat16())
