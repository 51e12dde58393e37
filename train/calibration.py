# SPDX-License-Identifier: Apache-2.0
"""Sets activation ranges and signs from data; re-estimates BatchNorm statistics."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..deploy.errors import UsageError
from .importance import rank_channels
from .module import QuantModule
from .pointwise import nonnegative as pointwise_nonnegative
from .records import GRID_KINDS, UNIT_KINDS, WEIGHTED

SAMPLE = 1 << 15
"""Values per grid that the range search sees."""


@torch.no_grad()
def calibrate(module: QuantModule, batches: Iterable[Tensor]) -> None:
    """Set the range of every activation grid from the float network's tensors.

    Args:
        module: a prepared network; its widths stay as they are.
        batches: input batches (tensors, or tuples whose first element is the input); a few
            hundred samples are enough.

    Raises:
        UsageError: no batches, or values that are not finite.
    """
    seen: dict[str, list[Tensor]] = {}
    squares: dict[str, Tensor] = {}
    lowest = float("inf")
    first = module.network.records[0].name

    def observe(name: str, value: Tensor) -> None:
        flat = value.flatten()
        step = max(1, flat.numel() // 4096)
        # Extremes always belong to the sample; the rest is thinned evenly.
        sample = torch.cat([flat[::step], flat.amin()[None], flat.amax()[None]])
        seen.setdefault(module.grids[name], []).append(sample)
        if module.channels is not None:
            power = value.double().square().mean([d for d in range(value.dim()) if d != 1])
            squares[name] = squares.get(name, torch.zeros_like(power)) + power
        nonlocal lowest
        if name == first:
            lowest = min(lowest, float(flat.min()))

    was_training = module.training
    # Running statistics of an untrained network (mean 0, variance 1) would give ranges far from
    # those it trains with, so it is calibrated with the statistics of each batch.
    module.train(_untrained(module))
    try:
        with module.running(mode="float", stats="probe"):
            for batch in batches:
                module(batch if isinstance(batch, Tensor) else batch[0], observe)
    finally:
        module.train(was_training)
    if not seen:
        raise UsageError(
            "calibrate: no batches found; a few hundred samples are needed; pass an "
            "iterable of input batches"
        )
    if module.input_signed is None:
        module.input_signed = lowest < 0
    set_signs(module, module.input_signed)
    rank_channels(module, squares)
    for grid, samples in seen.items():
        values = torch.cat(samples)
        if not torch.isfinite(values).all():
            raise UsageError(
                f"calibrate: {grid} holds values that are not finite; check the "
                "network and the data"
            )
        if values.numel() > SAMPLE:
            keep = torch.linspace(0, values.numel() - 1, SAMPLE).long()
            values = torch.cat([values[keep], values.amin()[None], values.amax()[None]])
        module.act_quantizer(grid).calibrate(values)


def _untrained(module: QuantModule) -> bool:
    """Whether some BatchNorm has never seen a batch."""
    return any(
        float(module.tensor(bn.counter)) == 0
        for record in module.network.records
        if (bn := record.bn) is not None and bn.counter is not None
    )


def set_signs(module: QuantModule, input_signed: bool) -> None:
    """Derive which grids need negative codes: a grid is signed if any tensor on it may be."""
    nonnegative: dict[str, bool] = {}
    signed: dict[str, bool] = {}
    for record in module.network.records:
        inputs = [nonnegative[name] for name in record.inputs]
        if record.clamp[0] >= 0:
            value = True
        elif record.kind in UNIT_KINDS:
            value = True
        elif record.kind == "input":
            value = not input_signed
        elif record.kind in WEIGHTED or record.bn is not None:
            value = False
        elif record.kind == "pointwise":
            value = pointwise_nonnegative(record.attrs, inputs[0])
        elif record.kind == "add" and record.attrs["signs"][1] < 0:
            value = False
        else:
            value = all(inputs)
        nonnegative[record.name] = value
        if record.kind in GRID_KINDS:
            grid = module.grids[record.name]
            signed[grid] = signed.get(grid, False) or not value
    # The output is always signed: scores are compared, and a common type is easier to use.
    signed[module.grids[module.network.output]] = True
    for grid, flag in signed.items():
        module.act_quantizer(grid).is_signed.fill_(flag)


@torch.no_grad()
def reestimate_batch_norm(module: QuantModule, batches: Iterable[Tensor]) -> None:
    """Replace every BatchNorm's running statistics by averages over ``batches``.

    Low-bit training leaves them behind the weights (Nagel et al., ICML 2022, section 4).

    Args:
        module: a prepared network.
        batches: inputs as the network was trained on them, augmented alike: with other statistics
            its weights would see other values.
    """
    norms = list({bn.mean: bn for r in module.network.records if (bn := r.bn)}.values())
    if not norms:
        return
    before = [(module.tensor(bn.mean).clone(), module.tensor(bn.var).clone()) for bn in norms]
    sums = [(torch.zeros_like(m), torch.zeros_like(v)) for m, v in before]
    was_training = module.training
    module.train()
    count = 0
    try:
        with module.running(stats="update"):
            for batch in batches:
                for bn, (mean, var) in zip(norms, before, strict=True):
                    module.tensor(bn.mean).copy_(mean)
                    module.tensor(bn.var).copy_(var)
                module(batch if isinstance(batch, Tensor) else batch[0])
                count += 1
                for bn, (mean, var), (m_sum, v_sum) in zip(norms, before, sums, strict=True):
                    # new = (1-k)*old + k*batch, so the batch statistic is recovered exactly enough
                    k = bn.momentum
                    if k is None:
                        k = 1.0 if bn.counter is None else 1.0 / float(module.tensor(bn.counter))
                    m_sum += (module.tensor(bn.mean) - (1 - k) * mean) / k
                    v_sum += (module.tensor(bn.var) - (1 - k) * var) / k
    finally:
        module.train(was_training)
    for bn, (mean, var), (m_sum, v_sum) in zip(norms, before, sums, strict=True):
        module.tensor(bn.mean).copy_(m_sum / count if count else mean)
        module.tensor(bn.var).copy_(v_sum / count if count else var)
