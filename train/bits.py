# SPDX-License-Identifier: Apache-2.0
"""The relaxed bit-width: a real number n whose ceiling is what the network computes with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import ceil

import torch
from torch import Tensor, nn

from ..deploy.errors import UsageError

MAX_BITS = 8


class BitWidth(nn.Module):
    """One width variable, shared by every quantiser that holds it.

    ``N = ceil(n)`` is used in forward and backward (Gernigon et al., AdaQAT, AICAS 2024). The state
    (n, frozen, crossings) travels in the module's ``state_dict``.

    Attributes:
        name: ``w:<module path>`` or ``a:<node>``, shown to the user.
        kind: ``weight`` or ``act``.
        n: the relaxed width.
        lo: smallest width it may take.
        hi: largest width it may take.
        allowed: the widths between them that it may take, ascending; a target may leave some out.
        frozen: no longer moved.
        fixed: never moved, by configuration.
        crossings: how often the width went up from N, index N.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        bits: int,
        *,
        lo: int = 2,
        hi: int = MAX_BITS,
        fixed: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.kind = kind
        self.n = float(bits)
        self.lo = min(lo, bits)
        self.hi = max(hi, bits)
        self.allowed = tuple(range(self.lo, self.hi + 1))
        self.frozen = fixed
        self.fixed = fixed
        self.crossings = [0] * (MAX_BITS + 1)
        self._override: int | None = None

    @property
    def bits(self) -> int:
        """The integer width in force (a probe's width inside `override`)."""
        return self.integer if self._override is None else self._override

    @property
    def probing(self) -> bool:
        """Whether an `override` is in force."""
        return self._override is not None

    @property
    def integer(self) -> int:
        """The smallest allowed width from ceil(n) on, whatever a probe does."""
        return self.at_least(ceil(self.n - 1e-9))

    def at_least(self, bits: int) -> int:
        """The smallest allowed width that is not below ``bits``; the largest where none is."""
        return next((b for b in self.allowed if b >= bits), self.allowed[-1])

    def nearest(self, n: float) -> int:
        """The allowed width nearest to ``n``; the larger of two."""
        return min(self.allowed, key=lambda b: (abs(b - n), -b))

    def below(self, bits: int) -> int:
        """The next allowed width below ``bits``, or ``bits - 1`` where there is none."""
        return max((b for b in self.allowed if b < bits), default=bits - 1)

    def above(self, bits: int) -> int:
        """The next allowed width above ``bits``, or ``bits`` where there is none."""
        return min((b for b in self.allowed if b > bits), default=bits)

    def allow(self, bits: Iterable[int]) -> None:
        """Take only some of the widths from now on.

        Raises:
            UsageError: none is left.
        """
        known = set(bits)
        kept = tuple(b for b in self.allowed if b in known)
        if not kept:
            raise UsageError(
                f"{self.name}: {self.lo} to {self.hi} bits wanted, the target has "
                f"{', '.join(map(str, sorted(known))) or 'none'}; fix this width to one of "
                "these or choose another target"
            )
        self.allowed, self.lo, self.hi = kept, kept[0], kept[-1]
        self.n = min(self.n, float(self.hi))

    def move(self, delta: float) -> tuple[int, int]:
        """Move n by ``delta``, floored at lo - 0.5 and capped at hi; returns (old N, new N).

        A rise of N counts as one crossing of the old N.
        """
        old = self.integer
        self.n = min(max(self.n + delta, self.lo - 0.5), float(self.hi))
        new = self.integer
        if new > old:
            self.crossings[old] += 1
        return old, new

    def freeze(self, bits: int) -> None:
        """Stop at ``bits``."""
        self.n = float(bits)
        self.frozen = True

    def get_extra_state(self) -> Tensor:
        """State as one float64 tensor: n, frozen, crossings."""
        return torch.tensor([self.n, float(self.frozen), *self.crossings], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore what `get_extra_state` gave."""
        values = state.tolist()
        self.n, self.frozen = values[0], bool(values[1])
        self.crossings = [int(v) for v in values[2:]]

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"{self.name}, n={self.n:.2f}, N={self.integer}{', frozen' if self.frozen else ''}"


@contextmanager
def override(widths: Mapping[BitWidth, int]) -> Iterator[None]:
    """Compute with other widths for a moment (a probe); the variables themselves do not move."""
    before = {width: width._override for width in widths}
    try:
        for width, bits in widths.items():
            width._override = bits
        yield
    finally:
        for width, bits_before in before.items():
            width._override = bits_before
