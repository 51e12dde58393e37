# SPDX-License-Identifier: Apache-2.0
"""Front ends: one module per source of graphs; each may import what the core must not."""
