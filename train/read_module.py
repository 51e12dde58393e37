# SPDX-License-Identifier: Apache-2.0
"""Reads calls of the modules of torch.nn."""

from __future__ import annotations

from torch import fx, nn

from .classes import make_softmax
from .convs import make_conv, make_conv_transpose
from .joins import make_reshape
from .moves import make_pad, make_shuffle, make_upsample
from .nodes import (
    SUPPORTED,
    Call,
    Unsupported,
    make_batch_norm,
    make_clamp,
    make_linear,
    shape_of,
)
from .pools import make_adaptive, make_average, make_window
from .records import BatchNorm


def read_module(node: fx.Node, module: nn.Module) -> Call:
    """Read a ``call_module`` node."""
    path, out = str(node.target), shape_of(node)
    inp = node.args[0] if node.args else node.kwargs.get("input")
    assert isinstance(inp, fx.Node)
    bias = f"{path}.bias" if getattr(module, "bias", None) is not None else None
    match module:
        case nn.ConvTranspose2d() | nn.ConvTranspose1d():
            return make_conv_transpose(
                inp,
                f"{path}.weight",
                bias,
                module.kernel_size,
                module.stride,
                module.padding,
                module.dilation,
                module.groups,
                module.output_padding,
            )
        case nn.Conv2d() | nn.Conv1d():
            if module.padding_mode != "zeros":
                raise Unsupported(
                    f"padding mode {module.padding_mode!r}; zeros is supported; use zero padding"
                )
            return make_conv(
                inp,
                f"{path}.weight",
                bias,
                module.kernel_size,
                module.stride,
                module.padding,
                module.dilation,
                module.groups,
            )
        case nn.Linear():
            return make_linear(inp, f"{path}.weight", bias)
        case nn.BatchNorm2d() | nn.BatchNorm1d():
            if module.running_mean is None:
                raise Unsupported(
                    "a BatchNorm without running statistics; "
                    "track_running_stats=True is supported; switch it on"
                )
            affine = module.affine
            return make_batch_norm(
                inp,
                BatchNorm(
                    f"{path}.weight" if affine else None,
                    f"{path}.bias" if affine else None,
                    f"{path}.running_mean",
                    f"{path}.running_var",
                    module.eps,
                    module.momentum,
                    f"{path}.num_batches_tracked",
                ),
            )
        case nn.ReLU():
            return make_clamp(inp, 0, None)
        case nn.ReLU6():
            return make_clamp(inp, 0, 6)
        case nn.Hardtanh():
            return make_clamp(inp, module.min_val, module.max_val)
        case nn.LeakyReLU():
            slope = float(module.negative_slope)
            return Call("pointwise", [inp], {"function": "leaky_relu", "slope": slope})
        case nn.PReLU():
            return Call("pointwise", [inp], {"function": "prelu", "slopes": f"{path}.weight"})
        case nn.GELU():
            attrs = {"function": "gelu", "approximate": module.approximate}
            return Call("pointwise", [inp], attrs)
        case nn.ELU():
            return Call("pointwise", [inp], {"function": "elu", "alpha": float(module.alpha)})
        case nn.Softplus():
            numbers = {"beta": float(module.beta), "threshold": float(module.threshold)}
            return Call("pointwise", [inp], {"function": "softplus", **numbers})
        case (
            nn.Sigmoid() | nn.Tanh() | nn.Hardswish() | nn.Hardsigmoid() | nn.SiLU() | nn.Mish()
            | nn.SELU() | nn.Softsign()
        ):  # fmt: skip
            return Call("pointwise", [inp], {"function": type(module).__name__.lower()})
        case nn.ZeroPad2d() | nn.ZeroPad1d() | nn.ConstantPad1d() | nn.ConstantPad2d():
            return make_pad(inp, module.padding, None, getattr(module, "value", 0.0))
        case nn.Upsample():
            return make_upsample(inp, out, module.mode, module.align_corners, module.scale_factor)
        case nn.ChannelShuffle():
            return make_shuffle(inp, module.groups)
        case nn.MaxPool2d() | nn.MaxPool1d() if not module.return_indices:
            return make_window(
                "maxpool2d",
                inp,
                module.kernel_size,
                module.stride,
                module.padding,
                module.dilation,
                module.ceil_mode,
                out,
            )
        case nn.AvgPool2d() | nn.AvgPool1d():
            return make_average(
                inp,
                module.kernel_size,
                module.stride,
                module.padding,
                module.ceil_mode,
                module.count_include_pad,
                getattr(module, "divisor_override", None),
                out,
            )
        case nn.AdaptiveAvgPool2d() | nn.AdaptiveAvgPool1d():
            return make_adaptive("avgpool2d", inp, out)
        case nn.AdaptiveMaxPool2d() if not module.return_indices:
            return make_adaptive("maxpool2d", inp, out)
        case nn.Softmax() | nn.Softmax2d():
            return make_softmax(inp, getattr(module, "dim", 1))
        case nn.Flatten() | nn.Unflatten():
            return make_reshape(node, inp)
        case nn.Identity() | nn.Dropout() | nn.Dropout1d() | nn.Dropout2d() | nn.AlphaDropout():
            return Call("identity", [inp])
    raise Unsupported(
        f"module {type(module).__name__}; {SUPPORTED} are supported; replace it "
        "or keep it outside the network"
    )
