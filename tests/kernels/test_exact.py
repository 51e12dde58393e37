# SPDX-License-Identifier: Apache-2.0
"""Every operator on every core, at all pairs of widths, with both compilers at every level.

One case is a core, a compiler, a level and a weight width: eight networks of every operator.
Which of signed and unsigned, random and extreme weights a pair gets turns with the level, so that
every pair meets three of the four on every core and compiler.
"""

from __future__ import annotations

import pytest
from nets import every_operator

from adaqat.deploy.device import Device
from adaqat.deploy.emit import layout
from adaqat.deploy.errors import ToolError
from adaqat.deploy.qemu import qemu_missing
from adaqat.deploy.targets import get
from adaqat.deploy.toolchain import find_toolchain
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally
from adaqat.hw_models import load_core

CORES = ("cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33",
         "cortex-m55", "riscv32")  # fmt: skip
COMPILERS = ("gcc", "zig")
LEVELS = ("-O2", "-O3", "-Os")


@pytest.mark.sweep
@pytest.mark.parametrize("weight_bits", range(1, 9))
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("target", CORES)
def test_every_operator_is_exact(target, compiler, level, weight_bits):
    core = load_core(target)
    pytest.importorskip("elftools")
    if core.unicorn is None:
        reason = qemu_missing(core)
        if reason:
            pytest.skip(reason)
    else:
        pytest.importorskip("unicorn")
    try:
        toolchain = find_toolchain(compiler, architecture=core.architecture)
    except ToolError as error:
        pytest.skip(str(error))
    for act_bits in range(1, 9):
        turn = (weight_bits + 2 * act_bits + LEVELS.index(level)) % 4
        net = every_operator(
            weight_bits, act_bits, signed=turn % 2 == 1, extreme=turn >= 2, seed=act_bits
        )
        model = layout(net, get(target), "net")
        codes = make_inputs(net, samples=8, seed=weight_bits)
        tally = Tally(model, target)
        with Device(model, target, toolchain=toolchain, optimise=level) as device:
            tally.add(codes, device.trace(codes))
        assert tally.values > 0 and tally.mismatches == 0, (act_bits, tally.first)
