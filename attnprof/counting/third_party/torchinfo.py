"""torchinfo: multiplies the parameters of a layer by the first dimension of what it returns."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd as _Convolution

from attnprof.counting.call import Build
from attnprof.counting.reconciliation import CallEvent, CounterEntry, Reconciliation
from attnprof.counting.third_party._positional import account_of, positional

quantity = "torchinfo"


def count(build: Build) -> int:
    """The `total_mult_adds` of `torchinfo.summary`."""
    import torchinfo

    module, tensors = positional(build())
    return int(torchinfo.summary(module, input_data=tensors, verbose=0).total_mult_adds)


def explain(build: Build) -> Reconciliation:
    """What it sees of the call's forward pass."""
    return account_of(build, _sees)


def _sees(span: CallEvent) -> CounterEntry | None:
    """Source: torchinfo/layer_info.py, calculate_macs."""
    if span.kind != "module" or any(True for _ in span.subject.children()):
        return None
    module: nn.Module = span.subject
    shape = _shape(span.output)
    is_convolution = "Conv" in type(module).__name__
    times = math.prod(shape[:1] + shape[2:]) if is_convolution else shape[0] if shape else 0
    added = {"weight": 0, "bias": 0}
    for name, parameter in module.named_parameters():
        if name in added:
            added[name] += times * parameter.numel()
        elif "weight" in name or "bias" in name:
            added["weight"] += math.prod(shape[:2]) * parameter.numel()
    if not any(added.values()):
        return None
    if not span.macs:
        return CounterEntry(extras={"parameters of layers without products": sum(added.values())})
    if is_convolution and not isinstance(module, _Convolution):
        misfit = f"{type(module).__name__} taken for a convolution"
    elif added["weight"] < span.macs:
        misfit = "each weight once per sequence, not per token"
    else:
        misfit = "biases and weights without products counted"
    return CounterEntry(added["weight"], {"bias": added["bias"]}, misfit)


def _shape(output: object) -> list[int]:
    while isinstance(output, list | tuple) and output:
        output = output[0]
    return list(output.shape) if isinstance(output, Tensor) else []
