# SPDX-License-Identifier: Apache-2.0
"""Names and numbers as Verilog writes them."""

from __future__ import annotations

import re

import jinja2

from ..errors import UsageError
from ..render import C_WORDS, environment
from .plan import bits_for, signed_bits, twos

VERILOG = frozenset(
    """always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config
    deassign default defparam design disable edge else end endcase endconfig endfunction endgenerate
    endmodule endprimitive endspecify endtable endtask event for force forever fork function
    generate genvar highz0 highz1 if ifnone incdir include initial inout input instance integer
    join large liblist library localparam macromodule medium module nand negedge nmos nor
    noshowcancelled not notif0 notif1 or output parameter pmos posedge primitive pull0 pull1
    pulldown pullup pulsestyle_onevent pulsestyle_ondetect rcmos real realtime reg release repeat
    rnmos rpmos rtran rtranif0 rtranif1 scalared showcancelled signed small specify specparam
    strong0 strong1 supply0 supply1 table task time tran tranif0 tranif1 tri tri0 tri1 triand
    trior trireg unsigned use uwire vectored wait wand weak0 weak1 while wire wor xnor
    xor""".split()
)
SYSTEM_VERILOG = frozenset(
    """accept_on alias always_comb always_ff always_latch assert assume before bind bins binsof bit
    break byte chandle checker class clocking const constraint context continue cover covergroup
    coverpoint cross dist do endchecker endclass endclocking endgroup endinterface endpackage
    endprogram endproperty endsequence enum eventually expect export extends extern final
    first_match foreach forkjoin global iff ignore_bins illegal_bins implements implies import
    inside int interconnect interface intersect join_any join_none let local logic longint matches
    modport nettype new nexttime null package packed priority program property protected pure rand
    randc randcase randsequence ref reject_on restrict return s_always s_eventually s_nexttime
    s_until s_until_with sequence shortint shortreal soft solve static string strong struct super
    sync_accept_on sync_reject_on tagged this throughout timeprecision timeunit type typedef union
    unique unique0 until until_with untyped var virtual void wait_order weak wildcard with within
    """.split()
)
RESERVED = VERILOG | SYSTEM_VERILOG


def verilog_name(name: str) -> str:
    """The name when it is usable as a module and file prefix everywhere.

    Raises:
        UsageError: otherwise.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name) or name in RESERVED | C_WORDS:
        raise UsageError(
            f"--name: {name!r}; up to 31 lower-case letters, digits and underscores, starting with"
            " a letter and no keyword of Verilog, SystemVerilog, C or C++, are supported; choose"
            " another name"
        )
    return name


def resized(signal: str, have: int, want: int, start: int = 0) -> str:
    """Bits ``start .. start+have-1`` of a signed signal, sign-extended or cut to ``want`` bits.

    With ``start`` 0 the signal has exactly ``have`` bits.
    """
    top = start + have - 1
    piece = f"{signal}[{top}:{start}]"
    if want < have:
        return f"{signal}[{start + want - 1}:{start}]"
    if want == have:
        return piece
    return f"{{{{{want - have}{{{signal}[{top}]}}}}, {piece}}}"


def signed_number(value: int, bits: int) -> str:
    """A signed literal; the most negative value is written by its code."""
    assert signed_bits(value, value) <= bits, f"{value} in {bits} bits"
    if value >= 0:
        return f"{bits}'sd{value}"
    return f"{bits}'sh{twos(value, bits):x}"


def code(value: int, bits: int) -> str:
    """An unsigned literal of a two's complement code."""
    return f"{bits}'h{twos(value, bits):x}"


def verilog_environment() -> jinja2.Environment:
    """The one environment, with the functions that Verilog templates call to print numbers."""
    env = environment()
    env.globals.update(
        resized=resized, signed_number=signed_number, code=code, bits_for=bits_for
    )
    return env


def print_template(template: str, **values: object) -> str:
    """Text of a Verilog template."""
    return verilog_environment().get_template(template).render(**values)
