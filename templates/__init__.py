# SPDX-License-Identifier: Apache-2.0
"""Templates of the emitted text; a package, so that importlib.resources finds the files."""
