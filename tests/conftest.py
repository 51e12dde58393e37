# SPDX-License-Identifier: Apache-2.0
"""Shared fixtures; see tests/README.md for how the machinery works."""

from __future__ import annotations
