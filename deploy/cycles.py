# SPDX-License-Identifier: Apache-2.0
"""Prices executed blocks with a core's cycle table.

The model is a lower bound for code in memory without wait states: every instruction has a cost
that may depend on the instruction before it in the same block, and the last branch of a block
costs what its recorded outcome says. Figures and sources are in ``hw_models/timing``.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..hw_models import Timing
from .decode_memo import remembered, thumb_unit
from .errors import ToolError
from .extras import require

_capstone = require("capstone", "emulate")
_arm = require("capstone.arm_const", "emulate")

_GROUPS: dict[str, tuple[str, ...]] = {
    "load": ("ldr", "ldrb", "ldrh", "ldrsb", "ldrsh"),
    "store": ("str", "strb", "strh"),
    "load_double": ("ldrd",),
    "store_double": ("strd",),
    "load_multiple": ("ldm", "ldmdb", "pop"),
    "store_multiple": ("stm", "stmdb", "push"),
    "mul": ("mul",),
    "mla": ("mla", "mls"),
    "long_mul": ("smull", "umull"),
    "long_mla": ("smlal", "umlal", "umaal"),
    "divide": ("sdiv", "udiv"),
    "branch": ("b", "cbz", "cbnz"),
    "call": ("bl",),
    "branch_register": ("bx", "blx", "tbb", "tbh"),
    "it": ("it",),
    "system": ("dmb", "dsb", "isb", "mrs", "msr", "cpsid", "cpsie", "svc", "bkpt", "wfi", "wfe",
               "udf"),
    "simd": (
        "smlad", "smladx", "smlsd", "smlsdx", "smlald", "smlaldx", "smlsld", "smlsldx",
        "smuad", "smuadx", "smusd", "smusdx", "smmul", "smmulr", "smmla", "smmlar", "smmls",
        "smmlsr", "smlabb", "smlabt", "smlatb", "smlatt", "smulbb", "smulbt", "smultb", "smultt",
        "smlawb", "smlawt", "smulwb", "smulwt", "smlalbb", "smlalbt", "smlaltb", "smlaltt",
        "sxtb16", "uxtb16", "sxtab16", "uxtab16", "sxtab", "uxtab", "sxtah", "uxtah", "pkhbt",
        "pkhtb", "ssat16", "usat16", "sadd8", "uadd8", "sadd16", "uadd16", "ssub8", "usub8",
        "ssub16", "usub16", "qadd", "qsub", "qdadd", "qdsub", "qadd8", "qsub8", "qadd16",
        "qsub16", "uqadd8", "uqsub8", "uqadd16", "uqsub16", "shadd8", "shadd16", "uhadd8",
        "uhadd16", "shsub8", "shsub16", "uhsub8", "uhsub16", "sasx", "ssax", "qasx", "qsax",
        "uasx", "usax", "sel", "usad8", "usada8",
    ),
    "alu": (
        "adc", "add", "addw", "adr", "and", "asr", "bfc", "bfi", "bic", "clz", "cmn", "cmp",
        "eor", "lsl", "lsr", "mov", "movs", "movt", "movw", "mvn", "neg", "nop", "orn", "orr",
        "rbit", "rev", "rev16", "revsh", "ror", "rrx", "rsb", "sbc", "sbfx", "ssat", "sub",
        "subw", "sxtb", "sxth", "teq", "tst", "ubfx", "usat", "uxtb", "uxth",
    ),
}  # fmt: skip
GROUP_OF = {name: group for group, names in _GROUPS.items() for name in names}
_MEMORY = ("load", "store", "load_double", "store_double")
_PC = _arm.ARM_REG_PC


@dataclass(frozen=True)
class Instruction:
    """One decoded instruction; registers are Capstone numbers.

    address_regs form the address, loaded is what a single load fetches (not its written-back
    base), transfers counts the registers of a multiple transfer.
    """

    address: int
    size: int
    group: str
    text: str
    address_regs: frozenset[int]
    loaded: frozenset[int]
    reads: frozenset[int]
    writes: frozenset[int]
    transfers: int
    conditional: bool
    register_offset: bool

    @property
    def loads_pc(self) -> bool:
        """Whether it is a branch by loading or writing the program counter."""
        return _PC in self.writes and self.group in ("load", "load_multiple", "alu")

    @property
    def is_branch(self) -> bool:
        """Whether it can leave the block."""
        return self.group in ("branch", "call", "branch_register") or self.loads_pc


@dataclass(frozen=True)
class Block:
    """A priced block.

    cycles: everything but the final branch. taken, not_taken: the final branch; equal to 0 for a
    block that ends without one. classes: instructions by group.
    """

    instructions: int
    cycles: float
    taken: float
    not_taken: float
    ends_in_branch: bool
    always_taken: bool
    starts_misaligned: bool
    classes: Mapping[str, int]


class Decoder:
    """Decodes Thumb code for an M-profile core."""

    def __init__(self) -> None:
        """Open Capstone in Thumb M-class mode."""
        self._engine = _capstone.Cs(
            _capstone.CS_ARCH_ARM,
            _capstone.CS_MODE_THUMB | _capstone.CS_MODE_MCLASS | _capstone.CS_MODE_V8,
        )
        self._engine.detail = True
        self._known: dict[bytes, list[Instruction]] = {}

    def decode(self, code: bytes, address: int) -> list[Instruction]:
        """Instructions of ``code``; bytes that are none raise `ToolError`."""
        return remembered(self._known, code, address, thumb_unit, self._fresh)

    def _fresh(self, code: bytes, address: int) -> list[Instruction]:
        found = [_instruction(item) for item in self._engine.disasm(code, address)]
        done = sum(item.size for item in found)
        if done != len(code):
            raise ToolError(
                f"0x{address + done:08x}: bytes {code[done : done + 4].hex()} are no instruction "
                f"the decoder knows; Thumb code without floating point or MVE is supported; "
                f"build for another core"
            )
        return found


def _instruction(item: Any) -> Instruction:
    name = item.mnemonic.split(".")[0]
    conditional = item.cc not in (_arm.ARM_CC_AL, _arm.ARM_CC_INVALID)
    group = _group(name, item)
    address: set[int] = set()
    register_offset = False
    transfers = 0
    for operand in item.operands:
        if operand.type == _arm.ARM_OP_MEM:
            address |= {operand.mem.base, operand.mem.index} - {0}
            register_offset = operand.mem.index != 0
        elif operand.type == _arm.ARM_OP_REG:
            transfers += 1
    if group in ("load_multiple", "store_multiple") and not name.startswith(("push", "pop")):
        transfers -= 1  # the first operand is the base address
    reads, writes = item.regs_access()
    return Instruction(
        address=item.address,
        size=item.size,
        group=group,
        text=f"{item.mnemonic} {item.op_str}".strip(),
        address_regs=frozenset(address),
        loaded=frozenset([item.operands[0].reg]) if group == "load" else frozenset(),
        reads=frozenset(reads),
        writes=frozenset(writes),
        transfers=transfers,
        conditional=conditional or name in ("cbz", "cbnz"),
        register_offset=register_offset,
    )


def _group(name: str, item: Any) -> str:
    if item.id == _arm.ARM_INS_IT:
        return "it"
    for candidate in (name, name[:-2], name[:-1], name[:-3]):
        # Capstone appends the condition and the flag-setting "s" to the mnemonic.
        if candidate in GROUP_OF and (candidate == name or _is_suffix(name[len(candidate) :])):
            return GROUP_OF[candidate]
    raise ToolError(
        f"0x{item.address:08x}: the cycle model has no class for {item.mnemonic!r}; integer "
        f"Thumb instructions are supported; add it to deploy/cycles.py"
    )


_CONDITIONS = ("eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")


def _is_suffix(text: str) -> bool:
    rest = text[1:] if text.startswith("s") and text not in _CONDITIONS else text
    return rest == "" or rest in _CONDITIONS


def price_block(items: list[Instruction], timing: Timing) -> Block:
    """Cost of one block of straight code."""
    cycles, run = 0.0, 0
    previous: Instruction | None = None
    last = items[-1]
    average = timing.rule.get("instruction")
    if average is not None:
        cycles = len(items) * average.cycles
    for item in items if average is None else ():
        if item is not last or not _pure_branch(item):
            cycles += _cost(item, previous, timing)
        if item.size == 4 and item.address & 2:
            run += 1
            wide = timing.rule.get("misaligned_wide_run")
            if wide is not None and run == wide.min_run:
                cycles += wide.cycles
        else:
            run = 0
        previous = item
    taken, not_taken = _branch_costs(last, timing)
    return Block(
        instructions=len(items),
        cycles=cycles,
        taken=taken,
        not_taken=not_taken,
        ends_in_branch=last.is_branch,
        always_taken=last.is_branch and not last.conditional,
        starts_misaligned=items[0].size == 4 and bool(items[0].address & 2),
        classes=Counter(item.group for item in items),
    )


def _pure_branch(item: Instruction) -> bool:
    return item.group in ("branch", "call", "branch_register")


def _branch_costs(last: Instruction, timing: Timing) -> tuple[float, float]:
    rules = timing.rule
    if not last.is_branch or "instruction" in rules:
        return 0.0, 0.0
    if last.loads_pc:
        # The transfer itself is priced with the block; only the refill is added here.
        return rules["load_pc"].cycles, 0.0
    name = {"branch": "branch_taken"}.get(last.group, last.group)
    return rules[name].cycles, rules["branch_not_taken"].cycles


def _cost(item: Instruction, previous: Instruction | None, timing: Timing) -> float:
    rules = timing.rule
    name = item.group
    if name == "branch":
        return rules["branch_not_taken"].cycles  # only when a block was cut behind it
    if name == "store":
        name = "store_register" if item.register_offset else "store_immediate"
    rule = rules.get(name)
    if rule is None:
        raise ToolError(
            f"0x{item.address:08x}: {item.text!r} has no cost on {timing.core}; the table holds "
            f"{', '.join(sorted(rules))}; build for this core"
        )
    cost = rule.cycles
    if rule.per_register is not None:
        cost += rule.per_register * item.transfers
    if previous is None:
        return cost
    if rule.folded is not None and previous.size == 2:
        return rule.folded
    if rule.overlapped is not None and previous.group.startswith("vector_"):
        return rule.overlapped if previous.group != name else cost
    after_load = previous.group == "load" and not previous.loads_pc
    source = previous.loaded if after_load else previous.writes
    depends = bool(item.address_regs & source)
    if item.group in _MEMORY and after_load and not depends and rule.paired is not None:
        cost = rule.paired
    if item.group in _MEMORY and depends and not after_load and "address_dependence" in rules:
        cost += rules["address_dependence"].cycles
    if after_load and rules["load"].use_penalty and previous.loaded & item.reads:
        cost += rules["load"].use_penalty
    return cost


def edge_cost(
    block: Block, next_address: int, end: int, next_misaligned: bool, timing: Timing
) -> tuple[float, bool]:
    """Cycles of leaving ``block`` to ``next_address``, and whether its branch was taken.

    ``end`` is the address behind the block: going there means that a conditional branch was not
    taken. ``next_misaligned``: the target is a 32-bit instruction at an address 2 mod 4.
    """
    if not block.ends_in_branch:
        return 0.0, False
    if next_address == end and not block.always_taken:
        return block.not_taken, False
    rule = timing.rule.get("misaligned_target")
    return block.taken + (rule.cycles if rule is not None and next_misaligned else 0.0), True
