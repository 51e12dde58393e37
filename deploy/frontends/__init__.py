# SPDX-License-Identifier: Apache-2.0
"""Readers of trained networks, one module per source format."""
