"""thop: hooks the module classes that it knows; it does not count functions."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from attnprof.counting.call import Build
from attnprof.counting.reconciliation import CallEvent, CounterEntry, Reconciliation
from attnprof.counting.third_party._positional import explain_forward, positional

quantity = "thop"

_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)

_NORMS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.LayerNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


def count(build: Build) -> int:
    """MACs as `thop.profile` reports them."""
    import thop

    module, tensors = positional(build())
    macs, *_ = thop.profile(module, inputs=tensors, verbose=False)
    return int(macs)


def explain(build: Build) -> Reconciliation:
    """What it counts of the call's forward pass."""
    return explain_forward(build, _rule)


def _rule(event: CallEvent) -> CounterEntry | None:
    """Source: thop/profile.py and thop/vision/basic_hooks.py."""
    if event.kind != "module":
        return None
    entry = _module_rule(event)
    # It hooks a module once per occurrence, and then adds up the occurrences.
    return None if entry is None else replace(entry, times=event.occurrences**2)


def _module_rule(event: CallEvent) -> CounterEntry | None:
    module, kind = event.subject, type(event.subject)
    if kind is nn.Linear:
        return CounterEntry(module.in_features * event.output.numel())
    if kind in _CONVOLUTIONS:
        filters = event.args[0].shape[1] // module.groups * module.weight[0, 0].numel()
        return CounterEntry(event.output.numel() * filters)
    if kind in _NORMS:
        is_affine = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
        per_element = 4 if is_affine else 2
        return CounterEntry(extras={"normalisation": per_element * event.args[0].numel()})
    if kind is nn.Softmax:
        elements = event.args[0].numel()
        rows = elements // event.args[0].shape[module.dim]
        return CounterEntry(extras={"softmax": 3 * elements - rows})
    return None
