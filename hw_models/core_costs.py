# SPDX-License-Identifier: Apache-2.0
"""What every family of kernels without DSP states about its loops.

Shared code asks a core's costs and never which core it is. No count depends on the data; they leave
out what depends on the constants of a layer (left shifts, signed codes, varying zero points).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from .thumb_core import Core
    from .thumb_forms import FieldsShape, LanesShape
    from .thumb_planes import Plane


class Costs(ABC):
    """Instructions of a family's loops."""

    thin: ClassVar[float]
    """A form that wastes half of its flash must be faster by this."""

    @abstractmethod
    def lanes(self, core: Core, form: LanesShape, depth: int) -> float:
        """Per channel and four pixels in the lanes form, results included."""

    @abstractmethod
    def fields(self, core: Core, form: FieldsShape, depth: int) -> float:
        """Per channel and four pixels in the fields form, results included."""

    @abstractmethod
    def passed(self, core: Core, form: LanesShape | FieldsShape, outputs: int) -> int:
        """Channels that the passes compute, those of the last one included that are dropped."""

    @abstractmethod
    def reading(
        self, core: Core, form: LanesShape | FieldsShape, runs: int, run: int, signed: bool
    ) -> float:
        """What brings all runs of four pixels into the column.

        Args:
            core: the family.
            form: of the layer.
            runs: pieces of adjacent activations in a column.
            run: activations of one piece.
            signed: whether they are.
        """

    @abstractmethod
    def row(self, core: Core, form: FieldsShape, depth: int) -> float:
        """One row of a linear layer in the fields form, its result included."""

    @abstractmethod
    def rows(self, outputs: int, depth: int) -> float:
        """The rows of a linear layer that go four at a time, byte by byte."""

    @abstractmethod
    def copy(self, span: int, depth: int, signed: bool) -> float:
        """What brings the activations of a linear layer into column words, or adds them up.

        Args:
            span: activations in a word; 1 for the form of four rows.
            depth: activations.
            signed: whether they are.
        """

    @abstractmethod
    def window(self, plane: Plane, groups: int) -> float:
        """The two outputs of a depthwise window whose taps are summed in so many groups."""

    @abstractmethod
    def fill(self, plane: Plane, centred: bool) -> float:
        """What fills the words of one channel's plane that have both lanes inside the image."""

    def centring(self, plane: Plane, groups: int) -> tuple[float, float]:
        """What sums cost more that are centred late, by window and by channel.

        Args:
            plane: the layer's geometry.
            groups: in which the taps of a window are summed.
        """
        # every group but the first reads where it starts
        return groups - 1, 4 + plane.taps + (2 if groups == 1 else 4 * groups)

    def border(self, plane: Plane) -> float:
        """About what fills the words of one channel that have one lane inside the image."""
        _, words = plane.edge_words()
        return 7 * words + 75 * sum(not both for both, _ in plane.parts)

    @abstractmethod
    def pair_fill(self, plane: Plane, *, moved: bool, low: int) -> float:
        """What fills the planes of two channels, calls and borders included.

        Args:
            plane: their geometry.
            moved: whether a constant is added to every word.
            low: lowest activation.
        """
