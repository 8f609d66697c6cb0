"""thop: hooks on the modules whose kinds it knows; functions it does not see."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from attnprof.counting.call import Build
from attnprof.counting.reconciliation import CallEvent, CounterEntry, Reconciliation
from attnprof.counting.third_party._positional import account_of, positional

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
    """MACs as `thop.profile` says."""
    import thop

    module, tensors = positional(build())
    macs, *_ = thop.profile(module, inputs=tensors, verbose=False)
    return int(macs)


def explain(build: Build) -> Reconciliation:
    """What it sees of the call's forward pass."""
    return account_of(build, _sees)


def _sees(span: CallEvent) -> CounterEntry | None:
    """Source: thop/profile.py and thop/vision/basic_hooks.py."""
    if span.kind != "module":
        return None
    sight = _sees_once(span)
    # It hooks a module once for every place where it stands, and sums up over the places.
    return None if sight is None else replace(sight, times=span.places**2)


def _sees_once(span: CallEvent) -> CounterEntry | None:
    module, kind = span.subject, type(span.subject)
    if kind is nn.Linear:
        return CounterEntry(module.in_features * span.output.numel())
    if kind in _CONVOLUTIONS:
        filters = span.args[0].shape[1] // module.groups * module.weight[0, 0].numel()
        return CounterEntry(span.output.numel() * filters)
    if kind in _NORMS:
        is_affine = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
        return CounterEntry(
            extras={"normalisation": (4 if is_affine else 2) * span.args[0].numel()}
        )
    if kind is nn.Softmax:
        numbers = span.args[0].numel()
        rows = numbers // span.args[0].shape[module.dim]
        return CounterEntry(extras={"softmax": 3 * numbers - rows})
    return None
