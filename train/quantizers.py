# SPDX-License-Identifier: Apache-2.0
"""Weight and activation quantisers: uniform grids of 1..8 bits with straight-through gradients.

All grids round with floor(x + 0.5), the rounding of the integer rule, so that training and
deployment agree on every tie. Ranges are kept as logarithms relative to a table of one range per
width; with ``refit`` the table holds the range of least squared error for each width (measured at
calibration), otherwise it is constant and the range is kept when the width changes.
"""

from __future__ import annotations

from math import floor

import torch
from torch import Tensor, nn

from ..deploy.errors import UsageError
from .bits import MAX_BITS, BitWidth
from .ranges import act_ranges, weight_ranges
from .rounding import Binary, fake_quant


class _Quantizer(nn.Module):
    """Holds a width that belongs to the network, not to the quantiser."""

    def __init__(self, width: BitWidth) -> None:
        super().__init__()
        object.__setattr__(self, "width", width)  # shared: not a submodule of each holder

    width: BitWidth

    def use(self, width: BitWidth) -> None:
        """Hold another width variable."""
        object.__setattr__(self, "width", width)


class WeightQuantizer(_Quantizer):
    """Common face of the weight quantisers. Weights have output channels first."""

    def forward(self, weight: Tensor) -> Tensor:
        """Fake-quantised weights."""
        raise NotImplementedError

    def codes(self, weight: Tensor) -> Tensor:
        """Unsigned codes q (int64), shaped like the weight: ``w = scale * (step*q + offset)``."""
        raise NotImplementedError

    def scale(self) -> Tensor:
        """Real size of one unit of ``step*q + offset``: ``[C]`` or ``[1]``, with gradient."""
        raise NotImplementedError

    @property
    def grid(self) -> tuple[int, int]:
        """(step, offset) of the integer meaning of a code."""
        raise NotImplementedError


class LsqWeights(WeightQuantizer):
    """LSQ with the logarithm of the range as parameter, per output channel or per tensor.

    Grid -2^(b-1)..2^(b-1)-1 with scale = range / 2^(b-1); one bit is -1, +1 with scale = range.
    """

    table: Tensor

    def __init__(
        self, width: BitWidth, weight: Tensor, *, per_channel: bool = True, refit: bool = True
    ) -> None:
        super().__init__(width)
        count = weight.shape[0] if per_channel else 1
        table = weight_ranges(weight.detach().reshape(count, -1)).log()
        if not refit:
            table = table[:, width.bits : width.bits + 1].expand(-1, MAX_BITS + 1).clone()
        self.register_buffer("table", table)
        self.log_range = nn.Parameter(torch.zeros(count))

    def rows(self, index: Tensor) -> LsqWeights:
        """A quantiser of some output channels of the weight, without gradients."""
        part = LsqWeights.__new__(LsqWeights)
        _Quantizer.__init__(part, self.width)
        chosen = index if len(self.log_range) > 1 else torch.zeros_like(index[:1])
        part.register_buffer("table", self.table[chosen])
        part.log_range = nn.Parameter(self.log_range.detach()[chosen], requires_grad=False)
        return part

    def scale(self) -> Tensor:
        """See `WeightQuantizer.scale`."""
        bits = self.width.bits
        return torch.exp(self.log_range + self.table[:, bits]) / float(1 << (bits - 1))

    @property
    def grid(self) -> tuple[int, int]:
        """(1, -2^(b-1)), or (2, -1) for one bit."""
        bits = self.width.bits
        return (2, -1) if bits == 1 else (1, -(1 << (bits - 1)))

    def _shaped(self, weight: Tensor) -> Tensor:
        return self.scale().reshape(-1, *[1] * (weight.dim() - 1))

    def forward(self, weight: Tensor) -> Tensor:
        """See `WeightQuantizer.forward`."""
        bits, scale = self.width.bits, self._shaped(weight)
        if bits == 1:
            return Binary.apply(weight, scale)  # type: ignore[no-any-return, no-untyped-call]
        half = 1 << (bits - 1)
        return fake_quant(weight, scale, -half, half - 1)

    @torch.no_grad()
    def codes(self, weight: Tensor) -> Tensor:
        """See `WeightQuantizer.codes`."""
        bits = self.width.bits
        if bits == 1:
            return (weight >= 0).long()
        half = 1 << (bits - 1)
        grid = torch.floor(weight / self._shaped(weight) + 0.5).clamp_(-half, half - 1)
        return grid.long() + half


class DorefaWeights(WeightQuantizer):
    """DoReFa (Zhou et al., 2016, eq. 9): tanh-normalised weights on 2^b - 1 odd steps, no zero.

    A constant gain, fitted once, keeps the function of a trained network (DoReFa itself maps every
    layer to -1..1, which only a following BatchNorm undoes).
    """

    gain: Tensor

    def __init__(self, width: BitWidth, weight: Tensor) -> None:
        super().__init__(width)
        flat = self._normal(weight.detach())
        gain = (weight.detach() * flat).sum() / (flat * flat).sum().clamp_min(1e-12)
        self.register_buffer("gain", gain.clamp_min(1e-8).reshape(1))

    @staticmethod
    def _normal(weight: Tensor) -> Tensor:
        squashed = torch.tanh(weight)
        return squashed / squashed.abs().max().clamp_min(1e-12)

    def scale(self) -> Tensor:
        """See `WeightQuantizer.scale`."""
        return self.gain / float((1 << self.width.bits) - 1)

    @property
    def grid(self) -> tuple[int, int]:
        """(2, -(2^b - 1))."""
        return 2, 1 - (1 << self.width.bits)

    def forward(self, weight: Tensor) -> Tensor:
        """See `WeightQuantizer.forward`."""
        levels = (1 << self.width.bits) - 1
        unit = self._normal(weight) * 0.5 + 0.5
        one = torch.ones((), dtype=unit.dtype, device=unit.device) / levels
        rounded = fake_quant(unit, one, 0, levels)
        return (rounded * 2 - 1) * self.gain

    @torch.no_grad()
    def codes(self, weight: Tensor) -> Tensor:
        """See `WeightQuantizer.codes`."""
        levels = (1 << self.width.bits) - 1
        unit = self._normal(weight) * 0.5 + 0.5
        one = torch.ones((), dtype=unit.dtype, device=unit.device) / levels
        return torch.floor(unit / one + 0.5).clamp_(0, levels).long()


class ActQuantizer(_Quantizer):
    """Per-tensor activation grid with zero point 0.

    Unsigned: codes 0..2^N-1, scale = range/(2^N-1), so that ReLU is part of the clamp (PACT).
    Signed: codes -2^(N-1)..2^(N-1)-1, scale = range/2^(N-1).

    Args:
        width: the width variable.
        rule: ``pact`` (gradient to the range only where clipped) or ``lsq``.
        refit: see the module docstring.
    """

    table: Tensor
    is_signed: Tensor
    calibrated: Tensor

    def __init__(self, width: BitWidth, *, rule: str = "pact", refit: bool = False) -> None:
        super().__init__(width)
        if rule not in ("pact", "lsq"):
            raise UsageError(f"activation quantiser: {rule!r} found; pact and lsq are supported")
        self.rule = rule
        self.refit = refit
        self.log_range = nn.Parameter(torch.zeros(()))
        self.register_buffer("table", torch.full((MAX_BITS + 1,), 6.0).log())
        self.register_buffer("is_signed", torch.tensor(True))
        self.register_buffer("calibrated", torch.tensor(False))

    @property
    def signed(self) -> bool:
        """Whether codes are two's complement."""
        return bool(self.is_signed)

    def scale(self) -> Tensor:
        """Real size of one code, a scalar with gradient."""
        bits = self.width.bits
        levels = float(1 << (bits - 1)) if self.signed else float((1 << bits) - 1)
        return torch.exp(self.log_range + self.table[bits]) / levels

    def limits(self, clamp: tuple[float, float]) -> tuple[int, int]:
        """(lo, hi) codes of a tensor whose real range is ``clamp``.

        floor(clamp(x)/s + 0.5) = clamp(floor(x/s + 0.5)) for limits rounded alike, so a fused
        activation is only a pair of code limits.
        """
        bits = self.width.bits
        lo = -(1 << (bits - 1)) if self.signed else 0
        hi = lo + (1 << bits) - 1
        scale = float(self.scale().detach())
        low, high = (min(max(end / scale, lo), hi) for end in clamp)
        return floor(low + 0.5), floor(high + 0.5)

    def forward(self, x: Tensor, clamp: tuple[float, float]) -> Tensor:
        """Fake-quantised ``clamp(x)``."""
        lo, hi = self.limits(clamp)
        return fake_quant(x, self.scale(), lo, hi, clip_only=self.rule == "pact")

    @torch.no_grad()
    def calibrate(self, sample: Tensor) -> None:
        """Set range and per-width table from a flat sample of (already clamped) values."""
        table = act_ranges(sample, self.signed).log()
        bits = self.width.bits
        self.table.copy_(table if self.refit else table[bits].expand_as(table))
        self.log_range.zero_()
        self.calibrated.fill_(True)


class FixedGrid(ActQuantizer):
    """Unsigned codes of a given real size, which no data choose: bytes of a camera.

    Args:
        width: the width variable.
        size: real size of a code.
    """

    def __init__(self, width: BitWidth, size: float) -> None:
        super().__init__(width)
        del self.log_range
        self.size = size
        self.calibrated.fill_(True)

    @property
    def signed(self) -> bool:
        """Never."""
        return False

    def scale(self) -> Tensor:
        """See `ActQuantizer.scale`."""
        return torch.tensor(self.size, device=self.table.device)

    def calibrate(self, sample: Tensor) -> None:
        """Nothing to choose."""


class UnitGrid(ActQuantizer):
    """A grid that no data choose: shares of 1 in steps of 2^-N (softmax), or indices (argmax).

    Args:
        width: the width variable.
        share: whether codes are shares of 1, not whole indices.
    """

    def __init__(self, width: BitWidth, *, share: bool) -> None:
        super().__init__(width)
        del self.log_range
        self.share = share
        self.calibrated.fill_(True)

    @property
    def signed(self) -> bool:
        """Never."""
        return False

    def scale(self) -> Tensor:
        """2^-N or 1."""
        return torch.tensor(2.0**-self.width.bits if self.share else 1.0, device=self.table.device)

    def calibrate(self, sample: Tensor) -> None:
        """Nothing to choose."""
