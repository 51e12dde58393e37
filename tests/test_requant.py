# SPDX-License-Identifier: Apache-2.0
"""The requantisation rule: its limits, its snapping, and its C form against unbounded integers."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import every_operator

from adaqat.deploy import UnsupportedError, simulate
from adaqat.deploy.host import STRICT
from adaqat.deploy.render import render
from adaqat.deploy.requant import (
    BLOCK,
    M_LIMIT,
    S_MAX,
    S_MIN,
    T_LIMIT,
    AddRequant,
    Requant,
    snap,
)
from adaqat.deploy.toolchain import host_compiler
from adaqat.deploy.vectors import make_inputs


def rule(t: int, m: int, s: int) -> int:
    return (t * m + 2 ** (s - 1)) // 2**s


@pytest.fixture(scope="module")
def c_rule(tmp_path_factory):
    folder = tmp_path_factory.mktemp("requant")
    text = "#include <stdint.h>\n" + "".join(
        render(f"c/helpers/{name}.c.j2", name="net") for name in ("requant", "requant_signed")
    )
    text += (
        "void all(const int32_t *t, const int32_t *m, const int32_t *s, int32_t *y, int32_t n);\n"
        "void all(const int32_t *t, const int32_t *m, const int32_t *s, int32_t *y, int32_t n)\n"
        "{ for (int32_t i = 0; i < n; ++i)"
        " { y[i] = net_requant_signed(t[i], m[i], (uint32_t)s[i]); } }\n"
    )
    source = folder / "requant.c"
    source.write_text(text)
    library = folder / "requant.so"
    sanitise = ["-fsanitize=undefined", "-fno-sanitize-recover"]
    flags = [*STRICT, "-O2", *sanitise, "-shared", "-fPIC"]
    subprocess.run([*host_compiler(), *flags, str(source), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))

    def call(t, m, s):
        y = np.zeros(len(t), np.int32)
        arrays = [np.ascontiguousarray(a, np.int32) for a in (t, m, s)]
        loaded.all(*[ctypes.c_void_p(a.ctypes.data) for a in (*arrays, y)], len(t))
        return y

    return call


def boundary_values():
    edges = [0, 1, 2, 3, 2**15, 2**16, 2**17, 2**30, T_LIMIT]
    near = {e + d for e in edges for d in (-2, -1, 0, 1, 2)}
    ts = sorted(v for e in near for v in (e, -e) if abs(v) <= T_LIMIT)
    ms = [0, 1, 2, 3, 2**8, 2**15 - 1, 2**15, 2**15 + 1, M_LIMIT - 2, M_LIMIT - 1]
    return [(t, m * sign, s) for t in ts for m in ms for sign in (1, -1)
            for s in range(S_MIN, S_MAX + 1)]  # fmt: skip


def test_c_equals_the_rule_at_every_boundary(c_rule):
    triples = boundary_values()
    found = c_rule(*np.array(triples, np.int64).T)
    assert [rule(*triple) for triple in triples] == found.tolist()
    assert len(triples) > 10_000


def apply(t, m, s):
    """The rule of the simulator on triples, clamp and zero point out of the way."""
    n, zero = len(t), np.zeros(len(t), np.int64)
    rule = Requant(0, zero, np.asarray(m), np.asarray(s), zero, -(2**40), 2**40)
    return rule.apply(np.asarray(t, np.int64).reshape(1, n))[0]


def test_the_simulator_equals_the_rule_at_every_boundary():
    triples = boundary_values()
    columns = np.array(triples, np.int64).T
    assert apply(*columns).tolist() == [rule(*triple) for triple in triples]
    t, m, s = columns
    assert ((t * m) % (1 << s) == 1 << (s - 1)).sum() > 100, "exact ties are among them"


def test_the_simulator_reaches_both_ends_of_its_clamp():
    one = np.array([1 << 15])
    rule_ = Requant(0, np.zeros(1, np.int64), one, np.array([17]), np.array([1]), -3, 5)
    acc = np.array([[-4000], [-16], [0], [16], [4000]])
    assert rule_.apply(acc)[:, 0].tolist() == [-3, -3, 1, 5, 5]
    sums = AddRequant((1,), 0, 1, 0, -3, 5)
    assert sums.apply([np.array([-90, -6, 0, 10, 90])]).tolist() == [-3, -3, 0, 5, 5]


@pytest.mark.parametrize("lo", [-128, -1, 0, 1, 7])
def test_codes_below_and_above_every_lower_end(lo):
    """Where no code is negative nothing is floored: sums just below a code must not differ."""
    rng = np.random.default_rng(7)
    m, s = rng.integers(-(1 << 15), 1 << 15, 64), rng.integers(17, 30, 64)
    bias, z = rng.integers(-(10**6), 10**6, 64), rng.integers(-5, 6, 64)
    acc = rng.integers(-(1 << 19), 1 << 19, (400, 64))
    acc[:64] = np.where(m == 0, 0, -bias + np.arange(-32, 32)[:, None] * (1 << 12) // 5)
    wanted = ((acc + bias) * m + (np.int64(1) << (s - 1)) >> s) + z
    found = Requant(0, bias, m, s, z, lo, 120).apply(acc)
    assert np.array_equal(found, np.clip(wanted, lo, 120))
    assert (wanted < lo).any() and (wanted > 120).any()
    assert ((wanted >= lo) & (wanted <= 120)).any()


def test_the_simulators_sum_equals_its_rule():
    for s in range(1, 24):
        half = 1 << (s - 1)
        rule_ = AddRequant((1, half), 3, s, -2, -(2**40), 2**40)
        a = np.arange(-3 * half - 2, 3 * half + 3) if s < 9 else np.arange(-half - 9, -half + 9)
        for b in (-3, 0, 5):
            total = a + half * b + 3
            found = rule_.apply([a, np.full_like(a, b)])
            assert found.tolist() == [rule(int(v), 1, s) - 2 for v in total]


def test_c_equals_the_rule_at_ties_and_at_random(c_rule):
    rng = np.random.default_rng(0)
    n = 200_000
    s = rng.integers(S_MIN, S_MAX + 1, n)
    m = rng.integers(-(M_LIMIT - 1), M_LIMIT, n)
    t = rng.integers(-T_LIMIT, T_LIMIT + 1, n) >> rng.integers(0, 31, n)
    # half of the cases sit at an exact tie or one unit beside it: t*m = odd * 2^(s-1) + {-1,0,1}
    odd = 2 * rng.integers(-500, 500, n) + 1
    power = 1 << rng.integers(0, 16, n)
    tie = rng.random(n) < 0.5
    m = np.where(tie, power, m)
    beside = (odd << (s - 1)) // power + rng.integers(-1, 2, n)
    t = np.where(tie & (np.abs(beside) <= T_LIMIT), beside, t)
    expected = (t * m + (1 << (s - 1))) >> s  # |t*m| < 2^47 fits int64
    assert np.array_equal(c_rule(t, m, s), expected)


def test_one_more_bit_of_m_would_overflow(c_rule):
    # the bound of the 32-bit split is tight: at m = 2^16 - 1 it is met exactly, at 2^16 it breaks
    largest = 32767 * (M_LIMIT - 1) + ((65535 * (M_LIMIT - 1)) >> 16) + 2 ** (S_MAX - 17)
    assert largest == 2**31 - 1
    assert 32767 * M_LIMIT + ((65535 * M_LIMIT) >> 16) + 2 ** (S_MAX - 17) > 2**31 - 1
    assert c_rule([T_LIMIT], [M_LIMIT - 1], [S_MAX])[0] == rule(T_LIMIT, M_LIMIT - 1, S_MAX)


channels = st.lists(
    st.tuples(st.floats(-15, 2), st.sampled_from([1, -1]), st.floats(-400, 400)),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(channels=channels, reach=st.integers(1, 2**22), zero=st.integers(-5, 5),
       seed=st.integers(0, 99))
def test_snapped_constants_obey_their_limits_and_follow_the_real_line(channels, reach, zero, seed):
    ratio = np.array([sign * 2.0**e for e, sign, _ in channels])
    offset = np.array([o for _, _, o in channels])
    low = np.full(len(ratio), -reach)
    try:
        found = snap(ratio, offset, low, -low, zero=zero, lo=-128, hi=127)
    except UnsupportedError:
        # only a unit too large for any left shift that fits may be refused
        assert np.abs(ratio).max() * 2.0**-8 >= 0.5 or np.log2(reach) + np.log2(
            np.abs(ratio).max()
        ) > 20
        return
    assert found.problems() == []
    assert found.t_bound(low, -low) <= T_LIMIT
    acc = np.random.default_rng(seed).integers(-reach, reach + 1, (50, len(ratio)))
    real = np.clip(ratio * acc + offset + zero, -128, 127)
    # half a step of rounding, plus what 16 bits of m and a bias of 1/256 step leave, plus the
    # half step that a channel turned constant may move
    assert np.abs(found.apply(acc) - real).max() <= 1.02


def test_vanished_gamma_becomes_the_constant():
    found = snap(np.array([0.0, 0.01]), np.array([7.4, 0.0]), np.array([-99, -99]),
                 np.array([99, 99]), zero=2, lo=0, hi=15)  # fmt: skip
    assert (found.m[0], found.z[0], found.z[1]) == (0, 9, 2)
    assert set(found.apply(np.array([[-99, 0], [0, 0], [99, 0]]))[:, 0]) == {9}


def test_tiny_ratio_with_a_large_bias_becomes_the_constant():
    # bias = 100 / 1e-9 leaves int32; over the whole accumulator range the output moves by 1e-6
    found = snap(np.array([1e-9]), np.array([100.0]), np.array([-1000]), np.array([1000]),
                 zero=0, lo=0, hi=255)  # fmt: skip
    assert found.m[0] == 0 and found.z[0] == 100


def test_always_saturated_channel_is_the_end_of_the_range():
    found = snap(np.array([0.1, 0.1]), np.array([1e9, -1e9]), np.array([-9, -9]), np.array([9, 9]),
                 zero=0, lo=0, hi=15)  # fmt: skip
    assert found.m.tolist() == [0, 0] and found.z.tolist() == [15, 0]


def test_snapped_constants_are_the_nearest_integers():
    rng = np.random.default_rng(5)
    ratio, offset = 2.0 ** -rng.uniform(9, 15, 200), rng.uniform(-90, 90, 200)
    reach = np.full(200, 1 << 16)
    found = snap(ratio, offset, -reach, reach, zero=0, lo=-(2**30), hi=2**30)
    exact = np.ldexp(ratio, found.s - found.p)
    assert np.abs(found.m - exact).max() <= 0.5
    assert np.abs(found.bias - np.ldexp(offset, found.s) / found.m).max() <= 0.5


def test_left_shift_is_the_smallest_that_brings_all_ratios_below_the_goal():
    for exponent, p in ((-9.5, 0), (-7.5, 1), (-3.5, 5), (-0.5, 8), (1.5, 10)):
        found = snap(np.array([2.0**exponent, 2.0**-20]), np.zeros(2), np.full(2, -100),
                     np.full(2, 100), zero=0, lo=0, hi=255)  # fmt: skip
        assert found.p == p, exponent


def test_messages_name_node_and_remedy():
    with pytest.raises(UnsupportedError, match=r"layer1\.conv: one accumulator unit is .* fewer"):
        snap(np.array([9e9]), np.array([0.0]), np.array([-2e9], np.int64),
             np.array([2e9], np.int64), zero=0, lo=-128, hi=127, name="layer1.conv")  # fmt: skip
    with pytest.raises(UnsupportedError, match=r"fc: a scale or bias that is not finite"):
        snap(np.array([np.nan]), np.array([0.0]), np.array([0]), np.array([1]),
             zero=0, lo=0, hi=1, name="fc")  # fmt: skip


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.float64, np.float32])
def test_floating_point_computes_the_integer_rule(dtype):
    """Blocks, shifts, channels with other zero points, and sums in every dtype that holds them."""
    random = np.random.default_rng(3)
    channels, rows = 7, 3 * BLOCK // 7 + 5
    for p in (0, 3, 9):
        most = 1 << (24 if dtype is np.float32 else 30) - p
        s = random.integers(17, 33, channels)
        m = random.integers(-(2**16) + 1, 2**16, channels)
        bias = random.integers(-(most << p), most << p, channels)
        z = random.integers(-128, 128, channels)
        rule_ = Requant(p, bias, m, s, z, -128, 127)
        acc = random.integers(-most, most + 1, (rows, channels))
        acc[:2] = [[-most] * channels, [most] * channels]
        t = (acc << p) + bias
        wanted = np.clip(((t * m + (1 << (s - 1))) >> s) + z, -128, 127)
        found = rule_.apply(acc.astype(dtype), np.int8)
        assert found.dtype == np.int8 and np.array_equal(found, wanted)
        assert len(np.unique(wanted)) > 50


@pytest.mark.parametrize("act_bits", [1, 2, 4, 8])
def test_generated_networks_reach_exact_ties(monkeypatch, act_bits):
    """Else no comparison of executors on them could see a tie rounded the other way."""
    right, of_sums = Requant.apply, AddRequant.apply
    ties = {"requant": 0, "sum": 0}

    def counted(self, acc, *dtype):
        t = (acc.astype(np.int64) << self.p) + self.bias
        ties["requant"] += int(((t * self.m) % (1 << self.s) == 1 << (self.s - 1)).sum())
        return right(self, acc, *dtype)

    def counted_sum(self, inputs):
        total = sum(m * x for m, x in zip(self.m, inputs, strict=True)) + self.bias
        ties["sum"] += int((total % (1 << self.s) == 1 << (self.s - 1)).sum())
        return of_sums(self, inputs)

    monkeypatch.setattr(Requant, "apply", counted)
    monkeypatch.setattr(AddRequant, "apply", counted_sum)
    for weight_bits in (1, 2, 4, 8):
        for signed in (False, True):
            net = every_operator(weight_bits, act_bits, signed=signed, seed=weight_bits)
            simulate(net, make_inputs(net, samples=24, seed=act_bits))
    print(ties)
    assert ties["requant"] > 200 and ties["sum"] > 20
