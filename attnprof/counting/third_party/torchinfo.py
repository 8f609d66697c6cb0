"""torchinfo: multiplies the parameters of a layer by the first dimension of its output."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd as _Convolution

from attnprof.counting.call import Build
from attnprof.counting.reconciliation import CallEvent, CounterEntry, Reconciliation
from attnprof.counting.third_party._positional import explain_forward, positional

quantity = "torchinfo"


def count(build: Build) -> int:
    """The `total_mult_adds` of `torchinfo.summary`."""
    import torchinfo

    module, tensors = positional(build())
    return int(torchinfo.summary(module, input_data=tensors, verbose=0).total_mult_adds)


def explain(build: Build) -> Reconciliation:
    """What it counts of the call's forward pass."""
    return explain_forward(build, _rule)


def _rule(event: CallEvent) -> CounterEntry | None:
    """Source: torchinfo/layer_info.py, calculate_macs."""
    if event.kind != "module" or _has_children(event.subject):
        return None
    module: nn.Module = event.subject
    weights, biases = _weights_and_biases(module, _output_shape(event.output))
    if not weights and not biases:
        return None
    if not event.macs:
        return CounterEntry(extras={"parameters of layers without products": weights + biases})
    return CounterEntry(weights, {"bias": biases}, _mismatch(module, weights, event.macs))


def _weights_and_biases(module: nn.Module, shape: list[int]) -> tuple[int, int]:
    """What it adds for weights and for biases of a layer whose output has this shape.

    Parameters named exactly `weight` or `bias` are multiplied by the first dimension, those of
    convolutions also by the positions. Any other name that contains one of these words is
    multiplied by the first two dimensions and counts as a weight.
    """
    if _is_called_convolution(module):
        times = math.prod(shape[:1] + shape[2:])
    else:
        times = shape[0] if shape else 0
    added = {"weight": 0, "bias": 0}
    for name, parameter in module.named_parameters():
        if name in added:
            added[name] += times * parameter.numel()
        elif "weight" in name or "bias" in name:
            added["weight"] += math.prod(shape[:2]) * parameter.numel()
    return added["weight"], added["bias"]


def _mismatch(module: nn.Module, weights: int, macs: int) -> str:
    """Why what it adds for the weights differs from the MACs of the layer."""
    if _is_called_convolution(module) and not isinstance(module, _Convolution):
        return f"{type(module).__name__} mistaken for a convolution"
    if weights < macs:
        return "each weight once per sequence, not per token"
    return "biases and weights without products counted"


def _is_called_convolution(module: nn.Module) -> bool:
    """Whether torchinfo takes it for a convolution: by the name of its class."""
    return "Conv" in type(module).__name__


def _has_children(module: nn.Module) -> bool:
    return any(True for _ in module.children())


def _output_shape(output: object) -> list[int]:
    """The shape of the first tensor of an output; empty if there is none."""
    while isinstance(output, list | tuple) and output:
        output = output[0]
    return list(output.shape) if isinstance(output, Tensor) else []
