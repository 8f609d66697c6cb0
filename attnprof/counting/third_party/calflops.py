"""calflops: patches torch's functions; for einsum it reports FLOPs but no MACs."""

from __future__ import annotations

from dataclasses import replace

import torch

from attnprof.counting.call import Build
from attnprof.counting.reconciliation import CallEvent, CounterEntry, Reconciliation
from attnprof.counting.third_party._positional import explain_forward, positional

quantity = "calflops"

_FUNCTIONAL = "torch.nn.functional."
_CONVOLUTIONS = tuple(
    f"{_FUNCTIONAL}conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)
)
_MATMULS = ("torch.matmul", "torch.Tensor.matmul")
_MATMULS_WITH_BIAS = ("torch.addmm", "torch.Tensor.addmm", "torch.baddbmm")


def count(build: Build) -> int:
    """The MACs of `calculate_flops`."""
    from calflops import calculate_flops

    module, tensors = positional(build())
    with torch.no_grad():
        _, macs, _ = calculate_flops(
            module, args=list(tensors), print_results=False, output_as_string=False
        )
    return int(macs)


def explain(build: Build) -> Reconciliation:
    """What it counts of the call's forward pass."""
    functions = (f"{_FUNCTIONAL}linear", *_CONVOLUTIONS, *_MATMULS, *_MATMULS_WITH_BIAS)
    return explain_forward(build, _rule, functions)


def _rule(event: CallEvent) -> CounterEntry | None:
    """Source: calflops/pytorch_ops.py. What it counts only as FLOPs is left out."""
    if event.kind != "function":
        return None
    entry = _function_rule(event)
    # It adds up the occurrences of the module that calls the function.
    return None if entry is None else replace(entry, times=event.occurrences)


def _function_rule(event: CallEvent) -> CounterEntry | None:
    operands = [*event.args, *event.kwargs.values()]
    if event.subject == f"{_FUNCTIONAL}linear":
        return CounterEntry(operands[0].numel() * operands[1].shape[0])
    if event.subject in _MATMULS:
        return CounterEntry(operands[0].numel() * operands[1].shape[-1])
    if event.subject in _MATMULS_WITH_BIAS:
        return CounterEntry(operands[1].numel() * operands[2].shape[-1])
    if event.subject in _CONVOLUTIONS:
        # It multiplies the filters of each group by the channels of all groups.
        groups = event.kwargs.get("groups", 1)
        return CounterEntry(event.macs, mismatch="groups of convolutions") if groups == 1 else None
    return None
