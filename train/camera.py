# SPDX-License-Identifier: Apache-2.0
"""Inputs as a camera gives them: bytes of a known size, normalised per channel by the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..deploy.errors import UsageError
from .capture import Network
from .records import Record

BYTE = 1.0 / 255.0
"""Real size of a byte of an image in 0..1."""
NAME = "input_normalised"


@dataclass(frozen=True)
class Camera:
    """What is known of the input.

    Attributes:
        scale: real size of a byte; None where calibration chooses.
        factor: per channel, empty without a normalisation: ``x * factor + shift``.
        shift: per channel.
    """

    scale: float | None = None
    factor: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()

    @classmethod
    def of(
        cls, scale: float | None, normalisation: tuple[Sequence[float], Sequence[float]] | None
    ) -> Camera:
        """Check the user's numbers.

        Raises:
            UsageError: a scale or deviation that is not positive, or lists of different lengths.
        """
        if scale is not None and not (math.isfinite(scale) and scale > 0):
            raise UsageError(f"input_scale: {scale}; a positive number is needed; 1/255 for images")
        if normalisation is None:
            return cls(scale)
        mean, std = (tuple(float(v) for v in values) for values in normalisation)
        if len(mean) != len(std) or not mean or not all(math.isfinite(m) for m in mean):
            raise UsageError(
                f"input_normalisation: {len(mean)} means and {len(std)} deviations; one finite"
                " number of each per channel is needed; give (mean, std)"
            )
        if not all(math.isfinite(s) and s > 0 for s in std):
            raise UsageError(
                f"input_normalisation: deviations {std}; positive numbers are needed; give"
                " (mean, std)"
            )
        factor = tuple(1.0 / s for s in std)
        shift = tuple(-m / s for m, s in zip(mean, std, strict=True))
        return cls(BYTE if scale is None else scale, factor, shift)

    def placed(self, network: Network) -> Network:
        """The network with the normalisation behind its input.

        Raises:
            UsageError: another number of channels.
        """
        if not self.factor:
            return network
        first, *rest = network.records
        if len(self.factor) not in (1, first.channels):
            raise UsageError(
                f"input_normalisation: {len(self.factor)} channels; the input has"
                f" {first.channels}; give one mean and deviation per channel"
            )
        attrs = {"function": "affine", "factor": self.factor, "shift": self.shift}
        step = Record(NAME, "pointwise", "input normalisation", (first.name,), first.shape, attrs)
        moved = (
            replace(r, inputs=tuple(NAME if n == first.name else n for n in r.inputs)) for r in rest
        )
        output = NAME if network.output == first.name else network.output
        return replace(network, records=(first, step, *moved), output=output)
