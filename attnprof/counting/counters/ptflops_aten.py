"""ptflops, backend `aten`: counts operators as torch dispatches them."""

from __future__ import annotations

import math

import torch

from attnprof.counting.call import Build
from attnprof.counting.counters._ptflops import complexity
from attnprof.counting.fake_tensors import on_fake_tensors
from attnprof.counting.reconciliation import (
    CallEvent,
    CounterEntry,
    Reconciliation,
    reconcile,
    run_forward,
)

quantity = "ptflops_aten_macs"

_aten = torch.ops.aten


def count(build: Build) -> int:
    """MACs as ptflops reports them."""
    return on_fake_tensors(build, lambda call: complexity(call, "aten"))


def explain(build: Build) -> Reconciliation:
    """What it counts of the call's forward pass."""
    return on_fake_tensors(
        build,
        lambda call: reconcile(lambda: run_forward(call), _rule, hooked=call.module.children()),
    )


def _rule(event: CallEvent) -> CounterEntry | None:
    """Source: ptflops/aten_ops.py."""
    if event.kind != "operator":
        return None
    args = event.args
    if event.subject in (_aten.mm, _aten.matmul, _aten.bmm):
        return CounterEntry(math.prod(args[0].shape) * args[1].shape[-1])
    if event.subject is _aten.addmm:
        macs = math.prod(args[1].shape) * args[2].shape[-1]
        return CounterEntry(macs, {"bias": args[1].shape[0] * args[2].shape[1]})
    if event.subject in (_aten.convolution, _aten._convolution):
        inputs, weight, bias, transposed = args[0], args[1], args[2], args[6]
        positions = (inputs if transposed else event.output).shape[2:]
        macs = inputs.shape[0] * math.prod(weight.shape) * math.prod(positions)
        return CounterEntry(macs, {"bias": event.output.numel()} if bias is not None else {})
    return None
