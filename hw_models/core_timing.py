# SPDX-License-Identifier: Apache-2.0
"""Cycle tables: what an instruction costs on a core, each figure with its source."""

from typing import Literal, Self

from pydantic import Field, model_validator

from .files import Record, available, load_record

Status = Literal["published", "third-party-measured", "assumed", "fitted"]

# What every core has (ARMv6-M), what the larger cores add, and what only some of those have.
BASE_RULES = (
    "alu", "mul", "load", "store_immediate", "store_register", "load_multiple", "store_multiple",
    "load_pc", "branch_taken", "branch_not_taken", "call", "branch_register", "system",
)  # fmt: skip
PIPELINE_RULES = (
    "mla", "long_mul", "long_mla", "divide", "load_double", "store_double", "it",
    "address_dependence", "misaligned_target", "misaligned_wide_run",
)  # fmt: skip
RISCV_RULES = (
    "alu", "mul", "long_mul", "divide", "load", "store_immediate", "branch_taken",
    "branch_not_taken", "call", "branch_register", "system",
)  # fmt: skip
AVERAGE_RULES = ("instruction",)
OPTIONAL_RULES = (
    "simd", "loop", "vector_memory", "vector_gather", "vector_integer", "vector_multiply",
    "vector_move",
)  # fmt: skip


class Rule(Record):
    """One figure of a cycle table.

    cycles: cost of the instruction, or the extra cost the rule's name stands for.
    paired: cost directly after a load whose result is not part of the address.
    per_register: further cycles per register of a multiple transfer.
    use_penalty: extra cycles when the very next instruction reads the loaded register.
    folded: cost when the instruction before is 16 bits wide.
    overlapped: cost directly after a vector instruction of another pipe.
    min_run: number of misaligned 32-bit instructions in a row from which the rule holds.
    """

    cycles: float = Field(ge=0)
    status: Status
    source: str
    paired: float | None = Field(default=None, ge=0)
    per_register: float | None = Field(default=None, ge=0)
    use_penalty: float = Field(default=0, ge=0)
    folded: float | None = Field(default=None, ge=0)
    overlapped: float | None = Field(default=None, ge=0)
    min_run: int | None = Field(default=None, ge=1)


class Validation(Record):
    """One published measurement and what the model says about the same code."""

    case: str
    unit: str
    measured: float | None = None
    model: float | None = None
    error_percent: tuple[float, float]
    memory: Literal[
        "zero-wait",
        "flash wait states ignored",
        "flash wait states added",
        "flash and caches of the board",
    ]
    source: str


class Timing(Record):
    """A cycle table.

    ``engine`` says how it is read: "fixed" (and "fixed-riscv", with that core family's rules)
    ignores neighbours, "in-order-single" looks one instruction back, "average" has one figure for
    every instruction of a core whose own cannot be told apart.
    """

    core: str
    title: str
    engine: Literal["fixed", "fixed-riscv", "in-order-single", "average"]
    claim: str
    rule: dict[str, Rule]
    validation: tuple[Validation, ...] = ()

    @model_validator(mode="after")
    def _all_rules_present(self) -> Self:
        wanted, allowed = set(BASE_RULES), set(BASE_RULES)
        if self.engine == "in-order-single":
            wanted |= set(PIPELINE_RULES)
            allowed = wanted | set(OPTIONAL_RULES)
        if self.engine in ("fixed-riscv", "average"):
            wanted = set(RISCV_RULES if self.engine == "fixed-riscv" else AVERAGE_RULES)
            allowed = wanted
        missing, unknown = wanted - set(self.rule), set(self.rule) - allowed
        if missing or unknown:
            raise ValueError(
                f"rules missing: {', '.join(sorted(missing)) or 'none'}, "
                f"unknown: {', '.join(sorted(unknown)) or 'none'}"
            )
        return self

    @property
    def weak_rules(self) -> tuple[str, ...]:
        """Rules that are assumed or fitted, to be printed beside every figure they produce."""
        return tuple(
            name for name, rule in sorted(self.rule.items()) if rule.status in ("assumed", "fitted")
        )


def timing_names() -> tuple[str, ...]:
    """Every core with a cycle table, sorted."""
    return available("timing")


def load_timing(name: str) -> Timing:
    """The cycle table called ``name``; raises `HwModelError` listing the known ones."""
    timing: Timing = load_record("timing", name, Timing)[0]
    return timing


def timing_hash(name: str) -> str:
    """Hex SHA-256 of the cycle table's text."""
    return load_record("timing", name, Timing)[1]
