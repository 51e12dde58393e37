# SPDX-License-Identifier: Apache-2.0
"""The kernels of every family at every level of both compilers."""

from __future__ import annotations

import pytest
from dsp_nets import NETS as DSP_NETS
from mve_nets import NETS as MVE_NETS
from thumb_nets import NETS as THUMB_NETS

from adaqat.deploy.emit import layout
from adaqat.deploy.errors import ToolError
from adaqat.deploy.qemu import qemu_missing
from adaqat.deploy.targets import get
from adaqat.deploy.toolchain import find_toolchain
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally
from adaqat.hw_models import load_core

LEVELS = [("gcc", "-O0"), ("gcc", "-O1"), ("gcc", "-O2"), ("gcc", "-O3"), ("gcc", "-Os"),
          ("zig", "-O1"), ("zig", "-O2"), ("zig", "-O3"), ("zig", "-Os")]  # fmt: skip
WIDTHS = ((8, 8, False), (6, 3, True), (4, 8, True), (3, 5, False), (2, 2, False), (1, 4, True))
NETS = {
    "cortex-m0plus": tuple(THUMB_NETS.values()),
    "cortex-m3": tuple(THUMB_NETS.values()),
    "riscv32": tuple(THUMB_NETS.values()),
    "cortex-m4": DSP_NETS,
    "cortex-m7": DSP_NETS,
    "cortex-m33": DSP_NETS,
    "cortex-m55": MVE_NETS,
}


@pytest.mark.sweep
@pytest.mark.parametrize(("compiler", "optimise"), LEVELS)
@pytest.mark.parametrize("target", NETS)
def test_every_level_computes_the_same_integers(target, compiler, optimise):
    pytest.importorskip("elftools")
    core = load_core(target)
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
    from adaqat.deploy.device import Device

    for make in NETS[target]:
        for weight_bits, act_bits, signed in WIDTHS:
            net = make(weight_bits, act_bits, signed=signed)
            codes = make_inputs(net, samples=4, seed=weight_bits)
            model = layout(net, get(target), "net")
            tally = Tally(model, target)
            with Device(model, target, toolchain=toolchain, optimise=optimise) as device:
                tally.add(codes, device.trace(codes))
            assert tally.mismatches == 0, (make, weight_bits, act_bits, tally.first)
