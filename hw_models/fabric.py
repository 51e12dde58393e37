# SPDX-License-Identifier: Apache-2.0
"""FPGA families: what a device holds and what parts of a circuit cost, by synthesis."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from .files import Record, available, load_record


class FabricProvenance(Record):
    """How the prices were made, so that they can be made again."""

    command: str
    tool: str
    script: str
    template_sha256: str


class Fabric(Record):
    """One FPGA family with the device that figures are quoted for.

    luts, dsps, brams: what the device holds; a bram has bram_bits bits and at most bram_width
        bits a word.
    lut_ram_bits: memories that are written are built from LUTs up to this many bits; 0 where the
        family's LUTs are no memories.
    rom_bits: constant memories are built from LUTs up to this many bits.
    clock_mhz: clock that frame rates are quoted at when nothing else is given.
    synthesis: the yosys command, without top and output.
    by_module: whether modules are synthesised one by one and joined afterwards.
    logic_cell: what place and route calls a cell of one LUT, empty where none is open.
    shared_cell: whether that cell holds the flip-flop, too, so that one without a LUT takes a cell.
    chain_cells: cells that the ends of a carry chain take besides its sum, each chain once.
    deep: whether registers stand behind block memories, which are slow there, and comparisons.
    dsp_synthesis: the yosys command with which products that it finds go to DSP slices.
    dsp_bits: least sum of the operands' bits, both of at least 3, that it puts there.
    dsp_width: bits of a slice's signed operands.
    router, router_flags: the place and route program for the device, empty where none is open.
    measured: whether the prices were fitted to this family; where not, they are another family's,
        good enough to compare foldings, and no figure of theirs is reported.
    router_output, packer, bitstream: its flag for the placed circuit, the program that makes a
        bitstream of it, and that file's suffix.
    constrained: whether the router takes no circuit without the pins of a board.
    packer_flags: arguments of that program, with {placed} and {bitstream} for the files.
    adder_levels: adders between registers in the constant graphs of unrolled layers.
    adder_bit, adder_each, adder_negated: LUTs of such a graph per bit of its adders, per adder, and
        per bit of every number that is subtracted somewhere (`benchmarks/engines.py`).
    clamp_bit: LUTs per bit of a code that is clamped after a rescaling by constants, its
        comparisons included (a test holds it against synthesis).
    kept_back: part of a budget of LUTs that the solver leaves free, for what predictions miss.
    gated_cell: template of the map that makes one carry cell of two bits of (a & b) + (c & d),
        empty where the family has no such cell or yosys is not told.
    lut, ff: price per unit of each feature of `adaqat.deploy.rtl.cost`.
    modules, mean_error, max_error: the fit over modules and designs, relative errors of LUTs, which
        are logic cells after packing where the family has open place and route.
    """

    name: str
    title: str
    device: str
    luts: int = Field(gt=0)
    dsps: int = Field(ge=0)
    brams: int = Field(ge=0)
    bram_bits: int = Field(gt=0)
    bram_width: int = Field(gt=0)
    lut_ram_bits: int = Field(ge=0)
    rom_bits: int = Field(gt=0)
    clock_mhz: float = Field(gt=0)
    synthesis: str
    by_module: bool
    logic_cell: str
    shared_cell: bool = False
    chain_cells: int = Field(default=0, ge=0)
    measured: bool
    deep: bool
    dsp_synthesis: str
    dsp_bits: int = Field(ge=0)
    dsp_width: int = Field(ge=2)
    router: str
    router_flags: str
    router_output: str
    adder_levels: int = Field(ge=1)
    adder_bit: float = Field(ge=0)
    adder_each: float = Field(ge=0)
    adder_negated: float = Field(ge=0)
    clamp_bit: float = Field(ge=0)
    packer: str
    bitstream: str
    packer_flags: str = "{placed} {bitstream}"
    constrained: bool = False
    gated_cell: str = ""
    kept_back: float = Field(default=0.0, ge=0, lt=1)
    lut: dict[str, float]
    ff: dict[str, float]
    modules: int = Field(ge=1)
    mean_error: float = Field(ge=0)
    max_error: float = Field(ge=0)
    provenance: FabricProvenance

    def price(self, features: Mapping[str, float]) -> float:
        """LUTs of a module with these features; a feature without price raises KeyError."""
        return sum(self.lut[name] * count for name, count in features.items())

    def adders(self, bits: int, count: int, negated: int) -> float:
        """LUTs of a constant adder graph."""
        return self.adder_bit * bits + self.adder_each * count + self.adder_negated * negated

    def flip_flops(self, features: Mapping[str, float]) -> float:
        """Flip-flops of a module with these features."""
        return sum(self.ff[name] * count for name, count in features.items())


def fabric_names() -> tuple[str, ...]:
    """Families with measured prices, sorted."""
    return available("fabrics")


def load_fabric(name: str) -> Fabric:
    """A family by its target's name; raises `HwModelError` listing the known ones."""
    fabric: Fabric = load_record("fabrics", name, Fabric)[0]
    return fabric
