# SPDX-License-Identifier: Apache-2.0
"""The file format of a measured cost table."""

from typing import Annotated, Literal

from pydantic import Field

from .files import Record

Bits = Annotated[int, Field(ge=0, le=32)]
Share = Annotated[float, Field(ge=0)]


class Provenance(Record):
    """How a table was made, so that it can be made again."""

    command: str
    date: str
    compiler: str
    compiler_version: str
    flags: str
    emulator: str
    timing: str
    timing_sha256: str
    template_sha256: str


class Energy(Record):
    """Energy of one core cycle in nJ, ``None`` when no source gives one."""

    nj_per_cycle: float | None = Field(default=None, gt=0)
    status: Literal["published, derived", "datasheet, derived", "unknown"]
    source: str


class Row(Record):
    """Measured cost of one kind of node at a set of widths.

    features: feature name -> (instructions, cycles) per unit of that feature. The names are those
    of the operator's work report; a constant term is the feature "layer", counted once per node.
    code_bytes: code of one such node by its form, upper quartile of the measured nodes.
    shared: functions that such nodes call, by name; a network holds each of them once.
    stored: bytes of constants per unit that the work report calls ``stored``; empty where the
        report knows its constants.
    samples, median_error and max_error describe the fit: relative errors of (instructions,
    cycles) between this row's prediction and what the emulator counted for the measured nodes.
    """

    kind: str
    weight_bits: tuple[Bits, ...] = Field(min_length=1)
    act_bits: tuple[Bits, ...] = Field(min_length=1)
    act_signed: tuple[bool, ...] = Field(min_length=1)
    features: dict[str, tuple[Share, Share]] = Field(min_length=1)
    code_bytes: dict[str, Annotated[int, Field(ge=0)]] = Field(min_length=1)
    shared: dict[str, Annotated[int, Field(ge=0)]]
    stored: dict[str, Share] = Field(default_factory=dict)
    samples: int = Field(ge=1)
    median_error: tuple[Share, Share]
    max_error: tuple[Share, Share]


class Table(Record):
    """A whole cost table, one target and one compiler.

    kernels: kernel families of the emitted code, most specific first.
    run_bytes: code of the functions around the nodes: (fixed, per node).
    """

    name: str
    core: str
    board: str
    clock_mhz: float = Field(gt=0)
    units: dict[str, str]
    claim: str
    provenance: Provenance
    energy: Energy
    kernels: tuple[str, ...] = ()
    run_bytes: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]
    row: tuple[Row, ...] = Field(min_length=1)
