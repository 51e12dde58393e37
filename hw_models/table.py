# SPDX-License-Identifier: Apache-2.0
"""The file format of a measured cost table."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .compilers import compiled_by
from .core import load_core
from .files import Record

Bits = Annotated[int, Field(ge=0, le=32)]
Share = Annotated[float, Field(ge=0)]
Figures = Annotated[tuple[Share, ...], Field(min_length=1, max_length=2)]
"""(instructions, cycles), or (instructions,) where cycles are unknown."""


class Provenance(Record):
    """How a table was made, so that it can be made again. No ``timing``: no cycles."""

    command: str
    date: str
    compiler: str
    compiler_version: str
    flags: str
    emulator: str
    timing: str | None = None
    timing_sha256: str | None = None
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
    form_shared: further ones that all measured nodes of a form call.
    stored: bytes of constants per unit that the work report calls ``stored``; empty where the
        report knows its constants.
    taken_share: taken branches per instruction, median of the measured nodes.
    samples, median_error and max_error describe the fit: relative errors of (instructions,
    cycles) between this row's prediction and what the emulator counted for the measured nodes.
    """

    kind: str
    weight_bits: tuple[Bits, ...] = Field(min_length=1)
    act_bits: tuple[Bits, ...] = Field(min_length=1)
    act_signed: tuple[bool, ...] = Field(min_length=1)
    features: dict[str, Figures] = Field(min_length=1)
    code_bytes: dict[str, Annotated[int, Field(ge=0)]] = Field(min_length=1)
    shared: dict[str, Annotated[int, Field(ge=0)]]
    form_shared: dict[str, dict[str, Annotated[int, Field(ge=0)]]] = Field(default_factory=dict)
    stored: dict[str, Share] = Field(default_factory=dict)
    taken_share: float = Field(default=0.0, ge=0, le=1)
    samples: int = Field(ge=1)
    median_error: Figures
    max_error: Figures


class Table(Record):
    """A whole cost table, one target and one compiler.

    board, clock_mhz: None for a target that is no particular device.
    kernels: kernel families of the emitted code, most specific first.
    run_bytes: code of the functions around the nodes: (fixed, per node).
    """

    name: str
    core: str
    board: str | None = None
    clock_mhz: float | None = Field(default=None, gt=0)
    units: dict[str, str]
    claim: str
    provenance: Provenance
    energy: Energy
    kernels: tuple[str, ...] = ()
    run_bytes: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]
    row: tuple[Row, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _cycles_everywhere_or_nowhere(self) -> Self:
        figures = 1 if self.provenance.timing is None else 2
        for index, row in enumerate(self.row):
            for name, pair in row.features.items():
                if len(pair) != figures:
                    raise ValueError(
                        f"row.{index}.features.{name}: {len(pair)} figures; a table "
                        f"{'with' if figures == 2 else 'without'} a cycle model has {figures}"
                    )
        return self

    @property
    def has_cycles(self) -> bool:
        """Whether cycles are estimated; without, only instructions and bytes are known."""
        return self.provenance.timing is not None

    @property
    def file_name(self) -> str:
        """Name of its file without ``.toml``: the target, and the compiler unless preferred."""
        usual = compiled_by(load_core(self.core).architecture)
        compiler = self.provenance.compiler
        return self.name if compiler == usual else f"{self.name}.{compiler}"
