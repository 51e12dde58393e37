# SPDX-License-Identifier: Apache-2.0
"""Non-negative least squares, for cost coefficients that must never reward more work.

Algorithm: C. L. Lawson and R. J. Hanson, "Solving Least Squares Problems" (1974), chapter 23.
"""

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
_TOLERANCE = 1e-12
_ROUNDS = 30
_SMALL_ERROR = 1e-4


def solve_nonnegative(matrix: Float64, target: Float64) -> Float64:
    """The ``x >= 0`` [features] that minimises ``|matrix @ x - target|``.

    Args:
        matrix: ``[samples, features]``.
        target: ``[samples]``.
    """
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1.0
    a = matrix / scale
    x = np.zeros(a.shape[1])
    active = np.zeros(a.shape[1], bool)  # features allowed to be positive
    for _ in range(10 * a.shape[1]):
        gradient = a.T @ (target - a @ x)
        gradient[active] = -np.inf
        best = int(np.argmax(gradient))
        if gradient[best] <= _TOLERANCE * np.linalg.norm(target):
            break
        active[best] = True
        x = _step_inside(a, target, x, active)
    return np.asarray(x / scale, np.float64)


def _step_inside(a: Float64, target: Float64, x: Float64, active: NDArray[np.bool_]) -> Float64:
    """Least squares over the active features, dropping those that would turn negative."""
    while active.any():
        free = np.zeros_like(x)
        free[active] = np.linalg.lstsq(a[:, active], target, rcond=None)[0]
        negative = active & (free <= 0)
        if not negative.any():
            return free
        step = np.min(x[negative] / np.maximum(x[negative] - free[negative], 1e-300))
        x = x + step * (free - x)
        active &= x > _TOLERANCE
        x[~active] = 0.0
    return x


def fit_relative(matrix: Float64, target: Float64) -> tuple[Float64, Float64]:
    """Coefficients with the least sum of absolute relative errors, and those errors.

    Relative, because a table must be as right for a small layer as for a large one. Absolute
    instead of squared, because a compiler now and then turns one shape into other code (a loop
    of one round): such a sample must show in the errors and not bend the prices of all others.
    Solved by iteratively reweighted least squares.

    Args:
        matrix: ``[samples, features]`` counts of work.
        target: ``[samples]`` measured cost, positive.
    """
    relative = matrix / target[:, None]
    weights = np.ones(len(target))
    for _ in range(_ROUNDS):
        x = solve_nonnegative(relative * weights[:, None], weights)
        errors = np.abs(relative @ x - 1)
        weights = 1 / np.sqrt(np.maximum(errors, _SMALL_ERROR))
    return x, errors
