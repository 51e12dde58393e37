# SPDX-License-Identifier: Apache-2.0
"""Cost of a prepared network for any assignment of widths, from a measured table.

The counts of work come from ``adaqat.hw_models.work``, the functions that the deployed operators
report with, so the cost that steers the widths is the cost that the report predicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..deploy.errors import UsageError
from ..hw_models import HwModel, load
from ..hw_models.work import (
    Work,
    conv2d_work,
    depthwise_conv2d_work,
    elementwise_work,
    linear_work,
    pool2d_work,
    requant_bytes,
)
from .bits import MAX_BITS, BitWidth
from .module import QuantModule
from .records import Record

METRICS = ("latency_ms", "cycles", "instructions", "energy_uj", "flash_kb")
"""What a table prices; kB is 1024 bytes."""

Assignment = Mapping[BitWidth, int]


@dataclass(frozen=True, eq=False)
class Term:
    """Cost of one node as a table over the widths it depends on.

    Attributes:
        name: the node.
        widths: its weight and activation width, or only one of them.
        table: metrics by the bits of ``widths``, in that order.
        shared: bytes of the functions the node calls, by name, for the same keys; a network holds
            each of them once.
    """

    name: str
    widths: tuple[BitWidth, ...]
    table: Mapping[tuple[int, ...], Mapping[str, float]]
    shared: Mapping[tuple[int, ...], Mapping[str, int]] = field(default_factory=dict)

    def functions(self, bits: Assignment) -> Mapping[str, int]:
        """Shared functions needed for an assignment."""
        return self.shared.get(tuple(bits.get(w, w.integer) for w in self.widths), {})

    def at(self, bits: Assignment, metric: str) -> float:
        """Cost for an assignment; widths not in it count as they are now."""
        return self.table[tuple(bits.get(w, w.integer) for w in self.widths)][metric]


class NetworkCost:
    """Cost as a sum of terms, each over at most two widths.

    Attributes:
        name: the target.
        metrics: metrics it can price.
        terms: one per node.
        fixed_bytes: code that every assignment needs.
    """

    def __init__(
        self, name: str, metrics: Sequence[str], terms: Iterable[Term], fixed_bytes: int = 0
    ) -> None:
        self.name = name
        self.fixed_bytes = fixed_bytes
        self.metrics = tuple(metrics)
        self.terms = tuple(terms)
        self._of: dict[BitWidth, list[Term]] = {}
        for term in self.terms:
            for width in dict.fromkeys(term.widths):
                self._of.setdefault(width, []).append(term)
        self._all = {w: MAX_BITS if not w.fixed else w.integer for w in self._of}

    def total(self, metric: str, bits: Assignment | None = None) -> float:
        """Cost of the network; widths not in ``bits`` count as they are now."""
        total = sum(term.at(bits or {}, metric) for term in self.terms)
        if metric != "flash_kb":
            return total
        functions: dict[str, int] = {}
        for term in self.terms:
            for name, size in term.functions(bits or {}).items():
                functions[name] = max(size, functions.get(name, 0))
        return total + (self.fixed_bytes + sum(functions.values())) / 1024

    def reference(self, metric: str) -> float:
        """Cost with every free width at 8: the unit of the strength."""
        return self.total(metric, self._all)

    def difference(self, metric: str, width: BitWidth, bits: int) -> float:
        """C(bits) - C(bits - 1) for one width, the others as they are now."""
        return sum(
            t.at({width: bits}, metric) - t.at({width: max(bits - 1, 1)}, metric)
            for t in self._of.get(width, [])
        )

    def slope(self, metric: str, width: BitWidth, bits: int) -> float:
        """Best saving per bit of any joint move down that lowers ``width`` below ``bits``.

        A table with plateaus has differences of zero that hide the step behind them; the chord to
        the best lower point does not. What the partner would save alone is not counted.
        """
        return sum(self._chord(term, metric, width, bits) for term in self._of.get(width, []))

    @staticmethod
    def _chord(term: Term, metric: str, width: BitWidth, bits: int) -> float:
        other = next((w for w in term.widths if w is not width), None)
        positions: list[dict[BitWidth, int]] = [{}]
        if other is not None and not other.frozen:
            positions = [{other: theirs} for theirs in range(other.lo, other.integer + 1)]
        best = 0.0
        for position in positions:
            alone = term.at({width: bits, **position}, metric)
            moved = sum(w.integer - theirs for w, theirs in position.items())
            for own in range(min(width.lo, bits - 1), bits):
                saved = alone - term.at({width: own, **position}, metric)
                best = max(best, saved / (bits - own + moved))
        return best

    def share(self, metric: str, width: BitWidth) -> float:
        """Average cost of one bit of ``width``, between its limits and those of its partners."""
        if width.hi == width.lo:
            return 0.0
        total = 0.0
        for term in self._of.get(width, []):
            other = next((w for w in term.widths if w is not width), None)
            ends: list[dict[BitWidth, int]] = (
                [{}] if other is None or other.frozen else [{other: other.hi}, {other: other.lo}]
            )
            total += sum(
                term.at({width: width.hi, **end}, metric)
                - term.at({width: width.lo, **end}, metric)
                for end in ends
            ) / len(ends)
        return total / (width.hi - width.lo)


class BitOps(NetworkCost):
    """The paper's proxy: mean weight width times mean activation width of the free variables."""

    def __init__(self, module: QuantModule) -> None:
        super().__init__("bitops", ("bitops",), ())
        free = [w for w in module.widths if not w.fixed]
        self._weights = [w for w in free if w.kind == "weight"]
        self._acts = [w for w in free if w.kind == "act"]

    @staticmethod
    def _mean(widths: Sequence[BitWidth], bits: Assignment) -> float:
        values = [bits.get(w, w.integer) for w in widths]
        return sum(values) / len(values) if values else 1.0

    def total(self, metric: str, bits: Assignment | None = None) -> float:
        """See `NetworkCost.total`."""
        return self._mean(self._weights, bits or {}) * self._mean(self._acts, bits or {})

    def reference(self, metric: str) -> float:
        """64: every width at 8."""
        return float(MAX_BITS * MAX_BITS)

    def difference(self, metric: str, width: BitWidth, bits: int) -> float:
        """The mean of the other kind, as in the released rule (not divided by the layer count)."""
        return self._mean(self._acts if width.kind == "weight" else self._weights, {})

    def slope(self, metric: str, width: BitWidth, bits: int) -> float:
        """The difference: the proxy has no plateaus."""
        return self.difference(metric, width, bits)

    def share(self, metric: str, width: BitWidth) -> float:
        """The difference."""
        return self.difference(metric, width, MAX_BITS)


def network_cost(module: QuantModule, target: HwModel | str | None) -> NetworkCost:
    """Cost model of a calibrated module on a target (a model, a table's name, or ``bitops``).

    Raises:
        HwModelError: an unknown target, or widths that its table does not hold.
        UsageError: the module is not calibrated (signs decide which kernel runs).
    """
    if target is None or target == "bitops":
        return BitOps(module)
    if not module.calibrated:
        raise UsageError("cost: the prepared network is not calibrated; call calibrate first")
    model = load(target) if isinstance(target, str) else target
    metrics = (
        METRICS if model.nj_per_cycle is not None else tuple(m for m in METRICS if m != "energy_uj")
    )
    terms = [
        _term(module, model, record, metrics)
        for record in module.network.records
        if record.kind not in ("input", "flatten")
    ]
    return NetworkCost(model.name, metrics, terms, model.run_bytes(len(terms)))


def _term(module: QuantModule, model: HwModel, record: Record, metrics: Sequence[str]) -> Term:
    widths = [module.weight_quantizer(record).width] if record.weight is not None else []
    source = module.act_quantizer(record.inputs[0])
    widths.append(source.width)
    table: dict[tuple[int, ...], dict[str, float]] = {}
    shared: dict[tuple[int, ...], Mapping[str, int]] = {}
    for bits in _choices(widths):
        weight_bits = bits[0] if record.weight is not None else 0
        work = record_work(module, record, weight_bits, bits[-1], source.signed)
        cost = model.node_cost(work)
        shared[bits] = cost.shared
        values = {
            "latency_ms": cost.cycles / (model.clock_mhz * 1e3),
            "cycles": cost.cycles,
            "instructions": cost.instructions,
            "energy_uj": cost.energy_uj or 0.0,
            "flash_kb": cost.flash_bytes / 1024,
        }
        table[bits] = {metric: values[metric] for metric in metrics}
    return Term(record.name, tuple(widths), table, shared)


def _choices(widths: Sequence[BitWidth]) -> list[tuple[int, ...]]:
    """Every combination of bits; probes may look one below ``lo``."""
    combined: list[tuple[int, ...]] = [()]
    for width in widths:
        own = [width.integer] if width.fixed else range(max(width.lo - 1, 1), width.hi + 1)
        combined = [(*c, bits) for c in combined for bits in own]
    return combined


def _hwc(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return shape[1], shape[2], shape[0]


def record_work(
    module: QuantModule, record: Record, weight_bits: int, act_bits: int, signed: bool
) -> Work:
    """Work of one record for given widths, counted exactly as the lowered operator counts it."""
    source, attrs = module.records[record.inputs[0]], record.attrs
    elements = 1
    for size in record.shape:
        elements *= size
    match record.kind:
        case "conv2d" if record.depthwise:
            return depthwise_conv2d_work(
                _hwc(source.shape),
                _hwc(record.shape),
                attrs["kernel"],
                attrs["stride"],
                attrs["dilation"],
                attrs["pad"],
                weight_bits,
                act_bits,
                signed,
            )
        case "conv2d":
            return conv2d_work(
                _hwc(source.shape),
                _hwc(record.shape),
                attrs["kernel"],
                attrs["stride"],
                attrs["dilation"],
                attrs["pad"],
                attrs["groups"],
                weight_bits,
                act_bits,
                signed,
            )
        case "linear":
            return linear_work(source.channels, record.channels, weight_bits, act_bits, signed)
        case "maxpool2d" | "avgpool2d":
            return pool2d_work(
                record.kind,
                _hwc(source.shape),
                _hwc(record.shape),
                attrs["kernel"],
                attrs["stride"],
                attrs["pad"],
                act_bits,
                signed,
            )
        case "affine":
            return elementwise_work(
                "requantize", elements, 1, act_bits, signed, requant_bytes(record.channels)
            )
    return elementwise_work(record.kind, elements, len(record.inputs), act_bits, signed)
