# SPDX-License-Identifier: Apache-2.0
"""One way to run CP-SAT: single-threaded, seeded, limited in its own deterministic time.

So the same problem has the same answer on every machine, however slow or busy.
"""

from __future__ import annotations

from typing import Any


def solve(model: Any, effort: float) -> Any:
    """A solver that holds the best solution of a ``CpModel`` found, or None without one.

    Args:
        model: an ``ortools.sat.python.cp_model.CpModel``.
        effort: limit in the solver's deterministic time, about a second of a fast core each.
    """
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = effort
    found = solver.solve(model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    return solver if found else None
