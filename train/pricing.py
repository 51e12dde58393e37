# SPDX-License-Identifier: Apache-2.0
"""Prices a prepared network with a measured table.

The counts of work come from ``adaqat.hw_models.work``, the functions that the deployed operators
report with, so the cost that steers the widths is the cost that the report predicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from ..deploy.errors import UsageError
from ..hw_models import HwModel, HwModelError, load, load_fabric
from ..hw_models.pool_work import pool2d_work
from ..hw_models.work import (
    Work,
    conv2d_work,
    depthwise_conv2d_work,
    elementwise_work,
    linear_work,
    requant_bytes,
)
from . import circuits
from .bits import BitWidth
from .cost import BitOps, Cell, Cells, NetworkCost, Term
from .module import QuantModule
from .records import Record

TABLE_KIND = {"affine": "requantize", "pointwise": "lookup", "shuffle": "transpose"}
"""Kinds of table rows that are called otherwise than the records."""
METRICS = ("latency_ms", "cycles", "instructions", "energy_uj", "flash_kb")
"""What a table prices; kB is 1024 bytes."""
PROXIES = ("gbitops",)
"""Products of bits in billions, as papers count them: the sum of multiply-accumulates times weight
bits times activation bits. A budget may hold it, no device pays it."""


def network_cost(
    module: QuantModule,
    target: HwModel | str | None,
    frames_per_second: float | None = None,
    latency_ms: float | None = None,
) -> NetworkCost:
    """Cost model of a calibrated module on a target (a model, a table's name, or ``bitops``).

    Args:
        module: the network.
        target: what prices it.
        frames_per_second: the rate a circuit must reach (`circuits`); FPGA targets only.
        latency_ms: most time of one frame in a circuit; FPGA targets only.

    Raises:
        HwModelError: an unknown target, or widths that its table does not hold.
        UsageError: the module is not calibrated (signs decide which kernel runs), or a rate for a
            target that is no circuit.
    """
    circuit = is_circuit(target)
    if frames_per_second is not None and not circuit:
        raise UsageError(
            f"budget: frames_per_second found for {target}; FPGA targets take it; use latency_ms"
        )
    if target is None or target == "bitops":
        return BitOps(module)
    if not module.calibrated:
        raise UsageError("cost: the prepared network is not calibrated; call calibrate first")
    if isinstance(target, str) and circuit:
        return circuits.circuit_cost(module, target, frames_per_second, latency_ms)
    model = load(target) if isinstance(target, str) else target
    metrics = _priced(model)
    records = [
        r
        for r in module.network.records
        if r.kind not in ("input", "flatten") and model.prices(TABLE_KIND.get(r.kind, r.kind))
    ]
    for record in records:
        _allow(module, model, record)
    shared: dict[str, dict[str, float]] = {}
    terms = [_term(module, model, record, metrics, shared) for record in records]
    fixed = {"flash_kb": model.run_bytes(len(terms)) / 1024}
    return NetworkCost(model.name, metrics, terms, shared, fixed, PROXIES)


def is_circuit(target: object) -> bool:
    """Whether a target is a circuit, not a processor."""
    return isinstance(target, str) and target.startswith(circuits.PREFIX)


def _priced(model: HwModel) -> tuple[str, ...]:
    """Metrics the table has figures for."""
    absent = set()
    if not model.has_cycles:
        absent |= {"latency_ms", "cycles", "energy_uj"}
    if model.clock_mhz is None:
        absent.add("latency_ms")
    if model.nj_per_cycle is None:
        absent.add("energy_uj")
    return tuple(metric for metric in METRICS if metric not in absent)


def table_name(target: HwModel | str | None) -> str:
    """Name and hash of a target's table: two tables of one name can be told apart."""
    if target is None or target == "bitops":
        return "bitops"
    if isinstance(target, str) and is_circuit(target):
        return f"{target} {load_fabric(target).provenance.template_sha256[:16]}"
    model = load(target) if isinstance(target, str) else target
    return f"{model.name} {getattr(model, 'table_hash', '')[:16]}".strip()


def _term(
    module: QuantModule,
    model: HwModel,
    record: Record,
    metrics: Sequence[str],
    shared: dict[str, dict[str, float]],
) -> Term:
    """Term of a record; adds the functions it may call to ``shared``."""
    widths = [module.weight_quantizer(record).width] if record.weight is not None else []
    source = module.act_quantizer(record.inputs[0])
    widths.append(source.width)
    plan = module.channels
    pruned = [] if plan is None else plan.widths(record.inputs[0], record.name)

    def price(bits: tuple[int, ...]) -> Cell:
        weight_bits = bits[0] if record.weight is not None else 0
        act_bits = bits[len(widths) - 1]
        channels = None
        if plan is not None and pruned:
            kept = dict(zip(pruned, bits[len(widths) :], strict=True))
            channels = plan.channels(record.inputs[0], kept), plan.channels(record.name, kept)
        work = record_work(
            module, record, weight_bits, act_bits, source.signed, model.kernels, channels
        )
        cost = model.node_cost(work)
        values = {
            "latency_ms": model.latency_ms(cost.cycles, cost.stall_cycles) or 0.0,
            "cycles": cost.cycles or 0.0,
            "instructions": cost.instructions,
            "energy_uj": cost.energy_uj or 0.0,
            "flash_kb": cost.flash_bytes / 1024,
        }
        for name, size in cost.shared.items():
            known = shared.setdefault(name, {"flash_kb": 0.0})
            known["flash_kb"] = max(known["flash_kb"], size / 1024)
        priced = {metric: values[metric] for metric in metrics}
        priced["gbitops"] = work.macs * weight_bits * act_bits * 1e-9
        return priced, frozenset(cost.shared)

    if pruned:
        cells = Cells(price)
        return Term(record.name, (*widths, *pruned), cells.costs(), cells.calls())
    table: dict[tuple[int, ...], Mapping[str, float]] = {}
    calls: dict[tuple[int, ...], frozenset[str]] = {}
    for bits in _choices(widths):
        try:
            table[bits], calls[bits] = price(bits)
        except HwModelError:
            if all(w.fixed or b in w.allowed for w, b in zip(widths, bits, strict=True)):
                raise
            # a probe below what the table holds is simply not priced
    return Term(record.name, tuple(widths), table, calls)


def _allow(module: QuantModule, model: HwModel, record: Record) -> None:
    """Leave a record's free widths only what the table was measured with."""
    if not hasattr(model, "widths"):
        return
    source = module.act_quantizer(record.inputs[0]).width
    own = module.weight_quantizer(record).width if record.weight is not None else None
    bits = 0 if own is None else own.integer
    kind = record_work(module, record, bits, source.integer, False, model.kernels).kind
    measured = model.widths(kind)
    for width, known in ((own, measured.weight_bits), (source, measured.act_bits)):
        if width is not None and not width.fixed:
            width.allow(known)


def _choices(widths: Sequence[BitWidth]) -> list[tuple[int, ...]]:
    """Every combination of bits; where the steps are single bits, probes look one below ``lo``."""
    combined: list[tuple[int, ...]] = [()]
    for width in widths:
        own = [width.integer] if width.fixed else [*width.allowed]
        if not width.fixed and own[0] > 1 and len(own) == width.hi - width.lo + 1 > 1:
            own.insert(0, own[0] - 1)
        combined = [(*c, bits) for c in combined for bits in own]
    return combined


def _hwc(shape: tuple[int, ...], channels: int) -> tuple[int, int, int]:
    return shape[1], shape[2], channels


def record_work(
    module: QuantModule,
    record: Record,
    weight_bits: int,
    act_bits: int,
    signed: bool,
    kernels: Sequence[str] = (),
    channels: tuple[int, int] | None = None,
) -> Work:
    """Work of one record for given widths, counted exactly as the lowered operator counts it.

    Args:
        module: the network.
        record: one of its records.
        weight_bits: width of its weights, 0 where it has none.
        act_bits: width of its input.
        signed: sign of its input.
        kernels: kernel families of the target; their loops count other features.
        channels: of its input and its output; default: all of them.
    """
    source, attrs = module.records[record.inputs[0]], record.attrs
    before, after = channels or (source.channels, record.channels)
    elements = after * prod(record.shape[1:])
    match record.kind:
        case "conv2d" if record.depthwise:
            return depthwise_conv2d_work(
                _hwc(source.shape, before),
                _hwc(record.shape, after),
                attrs["kernel"],
                attrs["stride"],
                attrs["dilation"],
                attrs["pad"],
                weight_bits,
                act_bits,
                signed,
                kernels,
            )
        case "conv2d":
            return conv2d_work(
                _hwc(source.shape, before),
                _hwc(record.shape, after),
                attrs["kernel"],
                attrs["stride"],
                attrs["dilation"],
                attrs["pad"],
                attrs["groups"],
                weight_bits,
                act_bits,
                signed,
                kernels,
            )
        case "linear":
            return linear_work(
                before, after, weight_bits, act_bits, signed, kernels
            )
        case "maxpool2d" | "avgpool2d":
            return pool2d_work(
                record.kind,
                _hwc(source.shape, before),
                _hwc(record.shape, after),
                attrs["kernel"],
                attrs["stride"],
                attrs["pad"],
                act_bits,
                signed,
                kernels,
            )
        case "affine":
            return elementwise_work(
                "requantize", elements, 1, act_bits, signed, requant_bytes(after), after, kernels,
            )  # fmt: skip
    kind = TABLE_KIND.get(record.kind, record.kind)
    return elementwise_work(
        kind, elements, len(record.inputs), act_bits, signed, channels=after,
        kernels=kernels,
    )  # fmt: skip
