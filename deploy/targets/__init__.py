# SPDX-License-Identifier: Apache-2.0
"""Targets by name; one module per family."""

from __future__ import annotations

from .base import Target, get, names, register

__all__ = ["Target", "get", "names", "register"]
