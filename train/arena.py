# SPDX-License-Identifier: Apache-2.0
"""Working memory of a network as it would be deployed: what the planner of the emitted code says.

Intermediate tensors hold a code of up to 8 bits in a byte, so widths change the arena only through
the kernels' scratch buffers: a limit is checked, not searched for. Beside the command line this is
the one module of the training side that asks the deploying side; it loads it when first used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from ..deploy.errors import UsageError
from .bits import MAX_BITS, BitWidth, override
from .module import QuantModule

POINTS = (2, 4, 8)
"""Uniform widths of weights and activations that are tried for the smallest arena."""


class Arena:
    """Arena of a calibrated module on a target, by assignment of widths."""

    def __init__(self, module: QuantModule, target: str) -> None:
        self.module, self.target = module, target
        self._known: dict[tuple[int, ...], float] = {}

    def kilobytes(self, bits: Mapping[BitWidth, int]) -> float:
        """Arena in units of 1024 bytes; widths not in ``bits`` count as they are now."""
        from ..deploy import targets
        from ..deploy.emit import layout
        from ..deploy.frontends.torch import lower

        key = tuple(bits.get(w, w.integer) for w in self.module.widths)
        if key not in self._known:
            example = torch.zeros(2, *self.module.network.records[0].shape)
            training = self.module.training
            self.module.eval()
            try:
                with override(bits):
                    graph = lower(self.module, example)
            finally:
                self.module.train(training)
            model = layout(graph, targets.get(self.target), "arena")
            self._known[key] = 4 * model.ram_words / 1024
        return self._known[key]

    def smallest(self, widths: Iterable[BitWidth]) -> tuple[float, dict[BitWidth, int]]:
        """The smallest arena of the uniform `POINTS` with all channels, and its widths."""
        found = []
        for weight in POINTS:
            for act in POINTS:
                wanted = {"weight": weight, "act": act, "channels": MAX_BITS}
                bits = {w: w.at_least(wanted[w.kind]) for w in widths}
                found.append((self.kilobytes(bits), weight, act, bits))
        size, _, _, bits = min(found, key=lambda entry: (entry[0], -entry[1] - entry[2]))
        return size, bits

    def check(self, limit: float, widths: Iterable[BitWidth]) -> None:
        """Refuse a limit that no uniform point meets.

        Raises:
            UsageError: says the smallest arena.
        """
        if not limit > 0:
            raise UsageError(f"budget: ram_kb = {limit}; a positive number is needed")
        size, _ = self.smallest(list(widths))
        if size > limit:
            raise UsageError(
                f"budget: ram_kb = {limit:g} cannot be met on {self.target}; the smallest "
                f"reachable arena of this network is {size:.6g}; allow more or use a "
                "smaller network or image"
            )
