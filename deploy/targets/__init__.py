# SPDX-License-Identifier: Apache-2.0
"""Targets by name; one module per family."""

from __future__ import annotations

from .base import Target, get, measurable, names, register

__all__ = ["Target", "get", "measurable", "names", "register"]
