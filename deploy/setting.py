# SPDX-License-Identifier: Apache-2.0
"""What emitted code is optimised for: speed, code size or working memory."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from .errors import UsageError


class Setting(StrEnum):
    """The choices of ``--optimise``."""

    speed = "speed"
    size = "size"
    ram = "ram"

    @classmethod
    def of(cls, text: str) -> Setting:
        """The setting of a name.

        Raises:
            UsageError: unknown, listing the known ones.
        """
        known = [one.value for one in cls]
        if text not in known:
            raise UsageError(
                f"--optimise: {text!r} is unknown; known settings: {', '.join(known)}; choose one"
                " of them"
            )
        return cls(text)

    @property
    def predicted(self) -> bool:
        """Whether the cost tables, measured at the speed setting, hold for it."""
        return self is Setting.speed

    def families(self, kernels: Sequence[str]) -> tuple[str, ...]:
        """Kernel families to ask at this setting, first wins.

        Args:
            kernels: families of the target, most specific first.
        """
        if self is Setting.speed:
            return tuple(kernels)
        # the compact kernels exist in three flavours: with DSP instructions, for cores whose
        # loads sign-extend at no cost, and for ARMv6-M, where they do not
        if {"dsp", "mve"} & set(kernels):
            flavour = "compact_dsp"
        else:
            flavour = "compact_armv6m" if "armv6m" in kernels else "compact"
        return (flavour,)


def only_speed(target: str, text: str) -> None:
    """Refuse a setting where the target has no choice of kernels.

    Raises:
        UsageError: unknown, or not speed.
    """
    if Setting.of(text) is not Setting.speed:
        raise UsageError(
            f"--optimise {text}: target {target} is a circuit; its size follows from goals; leave"
            " --optimise out and give --goal lut=... or interval=..."
        )
