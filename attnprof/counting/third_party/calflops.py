"""calflops: replaces torch's functions; of those of einsum it keeps no MACs."""

from __future__ import annotations

from dataclasses import replace

import torch

from attnprof.counting.call import Build
from attnprof.counting.reconciliation import CallEvent, CounterEntry, Reconciliation
from attnprof.counting.third_party._positional import account_of, positional

quantity = "calflops"

_FUNCTIONAL = "torch.nn.functional."
_CONVOLUTIONS = tuple(
    f"{_FUNCTIONAL}conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)
)
_PRODUCTS = ("torch.matmul", "torch.Tensor.matmul")
_WITH_ADDITION = ("torch.addmm", "torch.Tensor.addmm", "torch.baddbmm")


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
    """What it sees of the call's forward pass."""
    functions = (f"{_FUNCTIONAL}linear", *_CONVOLUTIONS, *_PRODUCTS, *_WITH_ADDITION)
    return account_of(build, _sees, functions)


def _sees(span: CallEvent) -> CounterEntry | None:
    """Source: calflops/pytorch_ops.py; what it counts as FLOPs alone is none of this."""
    if span.kind != "function":
        return None
    sight = _sees_once(span)
    # It sums up over the places of the module that calls the function.
    return None if sight is None else replace(sight, times=span.places)


def _sees_once(span: CallEvent) -> CounterEntry | None:
    operands = [*span.args, *span.kwargs.values()]
    if span.subject == f"{_FUNCTIONAL}linear":
        return CounterEntry(operands[0].numel() * operands[1].shape[0])
    if span.subject in _PRODUCTS:
        return CounterEntry(operands[0].numel() * operands[1].shape[-1])
    if span.subject in _WITH_ADDITION:
        return CounterEntry(operands[1].numel() * operands[2].shape[-1])
    if span.subject in _CONVOLUTIONS:
        # It multiplies the groups' filters by the channels of all of them.
        groups = span.kwargs.get("groups", 1)
        return CounterEntry(span.macs, mismatch="groups of convolutions") if groups == 1 else None
    return None
