# SPDX-License-Identifier: Apache-2.0
"""3x3 convolution of one input channel: every output channel reads the same plane of half-words.

The image comes in bands of output rows, so that the plane stays small.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...hw_models.plane_form import PlaneForm, band_rows, fills, plane_form
from ..ops.base import CArray, CPlan, TensorInfo
from ..ops.conv2d import Conv2d
from . import dsp_depthwise, dsp_depthwise_any
from . import dsp_packing as dsp


def form_of(op: Conv2d, source: TensorInfo) -> PlaneForm | None:
    """The plane of a convolution that this kernel computes, None for all others."""
    window = op.window
    if source.shape[2] != 1:
        return None
    return plane_form(source.shape, window.kernel, window.stride, window.dilation, window.pad)


def plan(
    op: Conv2d, form: PlaneForm, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan:
    """Plan of a convolution of one input channel."""
    source, window = inputs[0], op.window
    height, width, _ = source.shape
    rows, columns, outputs = output.shape
    band = band_rows(rows)
    kernel = dsp_depthwise.plane_helper(op, output, form, band)
    pairs = dsp_depthwise.pairs_helper(op)
    gather = dsp_depthwise_any.gather_helper(source)
    stream = dsp_depthwise.weight_stream(op)
    plane_rows = (band - 1) * window.stride[0] + window.kernel[0]
    halves = form.row_bytes // 2 * plane_rows + 4
    values = {
        "tile": dsp.tag_of(kernel),
        "pairs": dsp.tag_of(pairs),
        "gather": dsp.tag_of(gather),
        "height": height,
        "width": width,
        "top": window.pad[0],
        "left": window.pad[1],
        "pad_value": op.pad_value,
        "bands": rows // band,
        "band_rows": window.stride[0] * band,
        "plane_rows": plane_rows,
        "row_halves": form.row_bytes // 2,
        "pad_word": dsp_depthwise.pad_word(op),
        "fills": fills(halves),
        "outputs": outputs,
        "words": len(stream) // outputs,
        "band_outputs": band * columns * outputs,
        "bordered": window.pad[0] > 0 or window.pad[2] > 0,
    }
    arrays = (CArray("w", "uint32_t", stream, "for each output: weights, bias, multiplier"),)
    helpers = (("dsp_guard", ()), ("dsp_finish", ()), ("dsp_fill", ()), gather, pairs, kernel)
    proofs = (*op.proof(inputs), *dsp_depthwise.weight_proof(op))
    return CPlan("one_channel", values, arrays, helpers, 16 * fills(halves), proofs)
