# SPDX-License-Identifier: Apache-2.0
<<<<<<< HEAD
"""Readers of trained networks, one module per source format."""
=======
"""Front ends: one module per source of graphs; each may import what the core must not."""
>>>>>>> main
