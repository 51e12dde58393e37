# SPDX-License-Identifier: Apache-2.0
"""Writes a cost table as TOML, in a layout that people can read and compare."""

import json

from ..hw_models.files import Record
from ..hw_models.table import Row, Table

_HEAD = """\
# SPDX-License-Identifier: Apache-2.0
# Measured by the command under [provenance]; do not edit, measure again.
# A node costs the sum over its features of count times [instructions, cycles].
"""


def table_text(table: Table) -> str:
    """TOML text of a table; loading it gives an equal table."""
    lines = [_HEAD]
    for name in ("name", "core", "board", "clock_mhz", "kernels", "run_bytes", "claim"):
        if getattr(table, name) is not None:
            lines.append(f"{name} = {_value(getattr(table, name))}")
    lines += ["", "[units]", *(f"{key} = {_value(text)}" for key, text in table.units.items())]
    for name in ("provenance", "energy"):
        section: Record = getattr(table, name)
        lines += ["", f"[{name}]"]
        lines += [f"{k} = {_value(v)}" for k, v in section.model_dump().items() if v is not None]
    for row in table.row:
        lines += ["", *_row_lines(row)]
    return "\n".join(lines) + "\n"


def _row_lines(row: Row) -> list[str]:
    lines = ["[[row]]"]
    for name in ("kind", "weight_bits", "act_bits", "act_signed"):
        lines.append(f"{name} = {_value(getattr(row, name))}")
    lines.append(_features(row))
    for name in ("code_bytes", "shared", "stored"):
        inner = ", ".join(f"{key} = {size}" for key, size in getattr(row, name).items())
        lines.append(f"{name} = {{ {inner} }}" if inner else f"{name} = {{}}")
    if row.form_shared:
        forms = ", ".join(
            f"{form} = {{ {', '.join(f'{key} = {size}' for key, size in found.items())} }}"
            for form, found in row.form_shared.items()
        )
        lines.append(f"form_shared = {{ {forms} }}")
    for name in ("taken_share", "samples", "median_error", "max_error"):
        lines.append(f"{name} = {_value(getattr(row, name))}")
    return lines


def _features(row: Row) -> str:
    inner = ", ".join(f"{name} = {_value(pair)}" for name, pair in row.features.items())
    return f"features = {{ {inner} }}"


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    # JSON strings, numbers and booleans are TOML too.
    return json.dumps(value, ensure_ascii=False)
