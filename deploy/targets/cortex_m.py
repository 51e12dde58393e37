# SPDX-License-Identifier: Apache-2.0
"""Generated C: generic C99 and the Arm Cortex-M cores."""

from __future__ import annotations

from .base import Target, register

register(Target("c99", "c"))
register(
    Target("cortex-m4", "c", core="cortex-m4", table="cortex-m4", aliases=("cortex-m",))
)
register(Target("cortex-m0plus", "c", core="cortex-m0plus", table="cortex-m0plus"))
