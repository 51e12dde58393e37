# SPDX-License-Identifier: Apache-2.0
"""Bilinear upsampling as whole-number matrices."""

from __future__ import annotations

from fractions import Fraction
from math import floor, lcm

import numpy as np
from numpy.typing import NDArray


def bilinear_matrix(size: int, out: int, corners: bool) -> NDArray[np.int64]:
    """Weights ``[out, size]`` of every input position, all rows with one smallest common sum.

    Output i lies at ``i*(size-1)/(out-1)`` with corners in place, else at
    ``(i + 1/2)*size/out - 1/2``, not below 0 (`torch.nn.functional.interpolate`).
    """
    places = [
        Fraction(i * (size - 1), max(out - 1, 1))
        if corners
        else max(Fraction((2 * i + 1) * size - out, 2 * out), Fraction(0))
        for i in range(out)
    ]
    unit = lcm(*(place.denominator for place in places))
    matrix = np.zeros((out, size), np.int64)
    for i, place in enumerate(places):
        low = floor(place)
        weight = int((place - low) * unit)
        matrix[i, low] += unit - weight
        matrix[i, min(low + 1, size - 1)] += weight
    return matrix
