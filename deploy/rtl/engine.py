# SPDX-License-Identifier: Apache-2.0
"""Plans of windowed modules: convolution, depthwise convolution, linear, pools.

One controller serves them all. Per output pixel it walks segments (groups of channels that belong
together), chunks of outputs within a segment, and steps (kernel rows, columns, words of a segment).
A *shared* module gives one word of ``simd`` activations to ``pe`` dot products; a *lanewise* module
gives each of ``pe`` lanes its own channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any

from ..errors import UnsupportedError
from ..ops.base import TensorInfo, Window
from ..requant import Int64
from .elementwise import store_of
from .plan import Port, Rom, RtlPlan, WindowTiming, bits_for, signed_bits, twos
from .rescale import Rescale
from .weight_memory import weight_memory
from .window import Ring


@dataclass(frozen=True)
class Job:
    """What a windowed module computes.

    Attributes:
        template: its template.
        combine: "mac", "max" or "sum".
        shared: whether the lanes share one activation word.
        source: shape (H, W, C) and type of the input.
        output: type of the output and its shape (OH, OW, OC).
        window: geometry.
        groups: channel groups (shared modules).
        pad: code outside the image.
        weights: int64 ``[OC, KH, KW, C / groups]`` (shared), ``[OC, KH, KW, 1]`` (lanewise), None.
        acc: proven accumulator (lowest, highest) over all channels.
        pe: output channels at once.
        simd: input channels at once.
        serial: whether the requantiser multiplies bit by bit.
        proof: lines about bounds.
        deep: whether what memories give is registered once more.
        ahead: doublings of the input ring.
        grid: lowest and highest weight that the memory must hold and whether all are odd; those of
            the weights where None.
        reload: whether the memories can be written.
    """

    template: str
    combine: str
    shared: bool
    source: TensorInfo
    output: TensorInfo
    window: Window
    groups: int
    pad: int
    weights: Int64 | None
    acc: tuple[int, int]
    pe: int
    simd: int
    serial: bool = False
    proof: tuple[str, ...] = ()
    deep: bool = False
    ahead: int = 0
    grid: tuple[int, int, bool] | None = None
    reload: bool = False

    @property
    def segments(self) -> int:
        """Segments per pixel."""
        return self.groups if self.shared else -(-self.source.shape[2] // self.pe)

    @property
    def depth(self) -> int:
        """Channels of a segment."""
        return self.source.shape[2] // self.groups if self.shared else self.pe

    @property
    def words(self) -> int:
        """Activation words of a segment."""
        return -(-self.depth // self.simd) if self.shared else 1

    @property
    def outputs(self) -> int:
        """Output channels of a segment."""
        channels = self.output.shape[2]
        if self.shared:
            return channels // self.groups
        return channels // self.source.shape[2] * self.pe

    @property
    def chunks(self) -> int:
        """Groups of results of a segment."""
        return -(-self.outputs // self.pe)

    @property
    def steps(self) -> int:
        """Cycles of one group."""
        return self.window.kernel[0] * self.window.kernel[1] * self.words

    @property
    def lanes_in(self) -> int:
        """Channels of an activation word."""
        return self.simd if self.shared else self.pe


def lanes_out(job: Job) -> int:
    """Channels per output beat: the fewest that leave a group before the next one is done.

    Raises:
        UnsupportedError: no number of lanes divides both the channels and ``pe`` and is fast
            enough; the folding must change.
    """
    if job.serial:
        # a requantiser of its own for every output
        if (job.outputs if job.shared else job.output.shape[2]) % job.pe:
            raise UnsupportedError(
                [f"folding: {job.pe} outputs at once of {job.outputs}, requantised bit by bit; the"
                 " outputs at once must divide them here; choose another folding"]
            )
        return job.pe
    within = gcd(job.outputs if job.shared else job.output.shape[2], job.pe)
    for lanes in range(1, within + 1):
        if within % lanes == 0 and -(-job.pe // lanes) <= job.steps:
            return lanes
    raise UnsupportedError(
        [f"folding: {job.pe} outputs at once of {job.outputs}, one group in {job.steps} cycles;"
         " the outputs at once must divide them here; choose another folding"]
    )


def group_beats(job: Job, lanes: int) -> list[int]:
    """Beats of every group of one pixel, in order."""
    found = []
    for segment in range(job.segments):
        for chunk in range(job.chunks):
            if job.shared:
                left = job.outputs - chunk * job.pe
            elif job.chunks > 1:
                left = job.pe
            else:
                left = job.output.shape[2] - segment * job.pe
            found.append(min(job.pe, left) // lanes)
    return found


def plan_window(
    job: Job, rescale: Rescale | None, lanes: int, roms: tuple[Rom, ...] = ()
) -> RtlPlan:
    """The module of a job whose results leave through ``rescale`` (None: unchanged codes).

    ``roms`` are memories of the requantiser.
    """
    ring = Ring.over(job.source.shape[0], job.source.shape[1], job.window, job.ahead)
    beats = group_beats(job, lanes)
    tree = (job.simd - 1).bit_length() if job.shared else 0
    arithmetic = (3 + tree if job.combine == "mac" else 2) + int(job.deep)
    burst = max(beats)
    # results that wait their turn are taken in the cycle of their last sum
    latency = arithmetic + (rescale.latency if rescale else 0)
    groups = len(beats)
    # room for the groups that end before the first one has left: it takes `latency` cycles to the
    # queue, two through it, one to return the credit
    pace = max(job.steps, rescale.pace if rescale else 1)
    depth = burst * -(-(latency + burst + 2) // pace)
    # the queue's register holds one; it has taken a beat before the next one comes
    memory = depth - 1 if burst == 1 and 1 < depth and pace > 1 else depth
    store = _store(depth, memory) if rescale is None or burst > 1 else _store(depth, memory, pace)
    channels = job.output.shape[2]
    source = Port(
        job.lanes_in, job.depth if job.shared else job.source.shape[2], job.source.shape[2],
        ring.pixels, job.source.type.bits,
    )  # fmt: skip
    out_pixels = ring.out_hw[0] * ring.out_hw[1]
    timing = WindowTiming(
        job.segments * job.words, ring.pixels, ring.capacity, tuple(ring.need()),
        tuple(ring.release()), tuple(beats), burst, job.steps, pace, latency, depth,
        1 if store == "code" else 2,
    )  # fmt: skip
    weights, rom = weight_memory(job) if job.weights is not None else ({}, None)
    values: dict[str, Any] = {
        "combine": job.combine, "deep": job.deep, "shared": job.shared, "pe": job.pe,
        "lanes": lanes, "simd": job.simd if job.shared else 1, "tree": tree, "burst": burst,
        "beats": beats,
        "partial": len(set(beats)) > 1, "pace": pace, "steps": job.steps,
        "depth": depth, "credit_bits": signed_bits(-burst, depth - burst), "memory": memory,
        "store": store, "arithmetic": arithmetic,
        "act_bits": job.source.type.bits, "act_signed": job.source.type.signed,
        "acc_bits": signed_bits(*job.acc), "out_bits": job.output.type.bits,
        "rescale": rescale.values if rescale else None,
        **loops(job, ring), **pads(job), **weights, **({"reload": True} if job.reload else {}),
    }  # fmt: skip
    assert groups == job.segments * job.chunks
    output = Port(lanes, channels, channels, out_pixels, job.output.type.bits)
    return RtlPlan(
        job.template, values, (source,), output, timing, ((rom,) if rom else ()) + roms, job.proof
    )


def _store(depth: int, memory: int, pace: int = 1) -> str:
    """Where results wait; with a ``pace`` above 1 a requantiser keeps one until the next comes."""
    if pace > 1 and depth <= 2:
        return ("code", "register")[depth - 1]
    return store_of(memory)


def _turns(values: list[int], bits: int) -> dict[str, Any]:
    """A value per turn of a loop: the commonest one, and the others by turn."""
    codes = [twos(value, bits) for value in values]
    most = max(codes, key=codes.count)
    others = [(i, v) for i, v in enumerate(codes) if v != most]
    return {"most": most, "others": others, "bits": bits_for(len(codes) - 1)}


def loops(job: Job, ring: Ring) -> dict[str, Any]:
    """Counters, address steps and the tables of the ring."""
    window = ring.window
    (rows, columns), (kh, kw) = ring.out_hw, window.kernel
    dv, dh = window.dilation
    sv, sh = window.stride
    span_x, span_y = (kw - 1) * dh, (kh - 1) * dv
    width, words = ring.width, job.segments * job.words
    ring_bits = bits_for(ring.capacity - 1)
    spare_bits, space_bits = signed_bits(*ring.spare), signed_bits(-1, ring.space - 1)
    origin = -(window.pad[0] * width + window.pad[1])
    back = span_y * width + span_x
    last = (rows - 1) * sv * width + (columns - 1) * sh
    moves = {
        "kx": (dh, dh, 0),
        "ky": (dv * width - span_x, -span_x, dv),
        "group": (-back, -span_x, -span_y),
        "column": (sh - back, sh - span_x, -span_y),
        "row": (sv * width - (columns - 1) * sh - back, -(columns - 1) * sh - span_x, sv - span_y),
        "frame": (
            ring.pixels - last - back, -(columns - 1) * sh - span_x, -(rows - 1) * sv - span_y
        ),
    }
    reach = max(ring.height + window.pad[2], ring.width + window.pad[3]) + max(span_x, span_y)
    edge = bits_for(max(reach, *window.pad) + 1) + 1
    need_step = [0] + [
        b - a for a, b in zip(ring.need_columns, ring.need_columns[1:], strict=False)
    ]
    back_to_first = ring.need_columns[0] - ring.need_columns[-1]
    rows_need = ring.need_rows
    row_step = [
        (rows_need[i] - rows_need[i - 1] if i else ring.pixels + rows_need[0] - rows_need[-1])
        + back_to_first
        for i in range(rows)
    ]
    first = ring.first_rows
    free_step = [
        first[i] - first[i - 1] if i else first[rows] - first[rows - 1] for i in range(rows)
    ]
    counts = {
        "word": job.words, "kx": kw, "ky": kh, "chunk": job.chunks, "segment": job.segments,
        "x": columns, "y": rows,
    }  # fmt: skip
    # x and y are those of the next pixel
    begins = dict.fromkeys(counts, 0) | (
        {"x": 1} if columns > 1 else {"y": 1} if rows > 1 else {}
    )
    return {
        "height": ring.height, "width": ring.width, "columns": columns, "loops": [*counts.items()],
        "begins": begins, "word_bits": 0 if words == 1 else bits_for(words - 1),
        "pixel_words": words, "ring_bits": ring_bits, "capacity": ring.capacity,
        "spare_bits": spare_bits, "space_bits": space_bits, "words": job.words, "kw": kw,
        "padded": ring.padded, "edge_bits": edge, "ring_style": "",
        "start": (twos(origin, ring_bits), twos(-window.pad[1], edge), twos(-window.pad[0], edge)),
        "moves": {
            name: (twos(q, ring_bits), twos(x, edge), twos(y, edge))
            for name, (q, x, y) in moves.items()
        },
        "spare_first": twos(-(ring.need_rows[0] + ring.need_columns[0] + 1), spare_bits),
        "need_column": _turns([-v for v in need_step], spare_bits),
        "need_row": _turns([-v for v in row_step], spare_bits),
        "free_row": _turns([v - 1 for v in free_step], space_bits),
    }  # fmt: skip


def pads(job: Job) -> dict[str, Any]:
    """The activation word outside the image, for a whole and for the last word of a segment."""
    bits = job.source.type.bits
    code = twos(job.pad, bits)
    lanes = job.lanes_in
    rest = job.depth - (job.words - 1) * lanes if job.shared else lanes
    whole = sum(code << (bits * lane) for lane in range(lanes))
    last = sum(code << (bits * lane) for lane in range(rest))
    return {"pad_word": f"{whole:x}", "pad_last": f"{last:x}", "pad_differs": whole != last}
