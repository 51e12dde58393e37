# SPDX-License-Identifier: Apache-2.0
"""What an operator is: one frozen class that infers, computes, counts, proves and plans its C.

A new operator is one module in this package (found and registered on import), one template per
back end, one test. ``run`` is the only normative meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...hw_models.work import Work
from ..errors import UnsupportedError
from ..types import IntArray, IntType

if TYPE_CHECKING:
    from hashlib import _Hash

    from ..rtl.plan import Fold, RtlPlan

REGISTRY: dict[str, type[Op]] = {}
"""Operator classes by kind."""


@dataclass(frozen=True)
class TensorInfo:
    """Shape (no batch axis), integer type, and what a code means: ``scale * (code - zero)``."""

    shape: tuple[int, ...]
    type: IntType
    scale: float = 1.0
    zero: int = 0

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def wide(self) -> bool:
        """Whether an element takes more than a byte."""
        return self.type.bytes_ > 1

    @property
    def bytes_(self) -> int:
        """Bytes in memory, one container per element."""
        return self.size * self.type.bytes_


@dataclass(frozen=True)
class CArray:
    """A constant array of the emitted file.

    Attributes:
        name: suffix of the C identifier.
        c_type: element type.
        values: flat integers.
        note: what the array holds, printed as its comment.
    """

    name: str
    c_type: str
    values: tuple[int, ...]
    note: str


Helper = tuple[str, tuple[tuple[str, Any], ...]]
"""A shared C function: its template below ``c/helpers`` and the parameters it prints."""


@dataclass(frozen=True)
class CPlan:
    """Everything a C template of this operator prints.

    Attributes:
        template: template name below ``c/ops``, without suffix.
        values: literals by name.
        arrays: constants to emit.
        helpers: shared C functions called, those they call first.
        scratch: bytes of working memory in the arena during this node.
        proof: lines about bounds, printed above the function.
        overlaps: per input, the smallest address of the input minus address of the result that is
            safe while both are alive, proved from the order of accesses; empty where the result
            must lie apart from every input.
        record_bytes: bytes of constant records beside the arrays, on a 32-bit core.
    """

    template: str
    values: Mapping[str, Any]
    arrays: tuple[CArray, ...] = ()
    helpers: tuple[Helper, ...] = ()
    scratch: int = 0
    proof: tuple[str, ...] = ()
    overlaps: tuple[int, ...] = ()
    record_bytes: int = 0


INT32_MAX = (1 << 31) - 1


@dataclass(frozen=True)
class Bound:
    """A value that must not exceed ``limit`` (int32), with the node's own words for it."""

    what: str
    magnitude: int
    limit: int = INT32_MAX


class Op:
    """Base of all operators; subclasses are frozen dataclasses with a ``kind``.

    Attributes:
        kind: name of the operator.
        widest: most bits of the activations it reads and writes, 8 or 16.
    """

    kind: ClassVar[str] = ""
    widest: ClassVar[int] = 8
    unrolls: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.kind:
            return
        if cls.kind in REGISTRY:
            raise TypeError(f"operator kind {cls.kind!r} is defined twice")
        REGISTRY[cls.kind] = cls

    def infer(self, inputs: Sequence[TensorInfo]) -> tuple[tuple[int, ...], IntType]:
        """Shape and type of the result.

        Raises:
            UnsupportedError: inputs this operator cannot take.
        """
        raise NotImplementedError

    def run(self, inputs: Sequence[IntArray]) -> IntArray:
        """Compute on batched NHWC integer arrays; the result may be in any wider dtype."""
        raise NotImplementedError

    def work(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, kernels: Sequence[str] = ()
    ) -> Work | None:
        """Features for cost tables; None where nothing is executed."""
        return None

    def bounds(self, inputs: Sequence[TensorInfo]) -> list[Bound]:
        """Largest magnitudes the emitted code can reach, from the real constants."""
        return []

    def problems(self, inputs: Sequence[TensorInfo]) -> list[str]:
        """Other broken rules, in words."""
        return []

    def c_plan(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan | None:
        """What the C templates print; None where nothing is executed (input, reshape)."""
        return None

    def rtl_plan(
        self, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold
    ) -> RtlPlan | None:
        """What the Verilog templates print; None where nothing is executed, or not planned."""
        return None

    def fold_limits(self, inputs: Sequence[TensorInfo], output: TensorInfo) -> tuple[int, int]:
        """Largest (outputs at once, inputs at once) of a circuit."""
        return output.shape[-1], 1

    @property
    def weight_bits(self) -> int:
        """Bits of the weights, 0 where there are none."""
        return 0

    @property
    def weight_count(self) -> int:
        """Number of weights."""
        return 0

    @property
    def passes_through(self) -> bool:
        """Whether the result is the input's memory under another shape."""
        return False

    def describe(self) -> str:
        """One line for the text dump: kind and plain attributes."""
        shown = []
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if not isinstance(value, np.ndarray) and not is_dataclass(value):
                shown.append(f"{item.name}={value}")
        return f"{self.kind}<{', '.join(shown)}>"

    def update_digest(self, digest: _Hash) -> None:
        """Feed every constant into a hash."""
        for path, value in flatten(self):
            if isinstance(value, np.ndarray):
                digest.update(f"{path}{value.shape}".encode())
                digest.update(np.ascontiguousarray(value, "<i8").tobytes())
            else:
                digest.update(f"{path}={value}".encode())


def flatten(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Fields of nested dataclasses as (dotted path, array or plain value)."""
    found: list[tuple[str, Any]] = []
    for item in fields(value):
        inner = getattr(value, item.name)
        path = f"{prefix}{item.name}"
        if is_dataclass(inner) and not isinstance(inner, IntType):
            found += flatten(inner, f"{path}.")
        else:
            found.append((path, inner))
    return found


def need(condition: bool, message: str) -> None:
    """Raise an `UnsupportedError` with one problem unless the condition holds."""
    if not condition:
        raise UnsupportedError([message])


@dataclass(frozen=True)
class Window:
    """Geometry of a sliding window.

    Attributes:
        kernel: (height, width).
        stride: (vertical, horizontal).
        dilation: (vertical, horizontal).
        pad: (top, left, bottom, right) positions added around the input.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = field(default=(0, 0, 0, 0))

    def out_hw(self, in_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the result."""
        sizes = []
        for axis in (0, 1):
            reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
            room = in_hw[axis] + self.pad[axis] + self.pad[axis + 2] - reach
            sizes.append(room // self.stride[axis] + 1 if room >= 0 else 0)
        return sizes[0], sizes[1]

    def views(self, x: IntArray, fill: int) -> IntArray:
        """All windows of padded ``x`` [N,H,W,C] as a view [N,OH,OW,C,KH,KW]."""
        top, left, bottom, right = self.pad
        if any(self.pad):
            x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
        reach = tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))
        view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(1, 2))
        return view[
            :, :: self.stride[0], :: self.stride[1], :, :: self.dilation[0], :: self.dilation[1]
        ]
