"""torch's `FlopCounterMode`, unmodified, converted to MACs."""

from __future__ import annotations

import math
from typing import Any, cast

from torch.utils.flop_counter import FlopCounterMode, flop_registry

from attnprof.counting.call import Build, Call
from attnprof.counting.fake_tensors import on_fake_tensors
from attnprof.counting.reconciliation import CallEvent, CounterEntry, Reconciliation, reconcile

quantity = "torch_macs"


def count(build: Build) -> int:
    """Half of torch's FLOPs: it counts two for each multiply-accumulate."""
    return on_fake_tensors(build, _count)


class _RootModule:
    """Replaces torch's module tracker, whose hooks fail on some modules.

    Everything is counted as part of the root; the total does not depend on the tracker. Source:
    torch/utils/module_tracker.py.
    """

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, *error: object) -> None:
        """Do nothing."""


def _count(call: Call) -> int:
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = cast("Any", _RootModule())
    with counter:
        call.run()
    return counter.get_total_flops() // 2


def explain(build: Build) -> Reconciliation:
    """What it counts of the call, forward and backward."""
    return on_fake_tensors(build, lambda call: reconcile(call.run, _rule))


def _rule(event: CallEvent) -> CounterEntry | None:
    """Source: torch/utils/flop_counter.py."""
    if event.kind != "operator" or event.subject not in flop_registry:
        return None
    if "attention" not in str(event.subject):
        return CounterEntry(event.macs)
    is_backward = str(event.subject).endswith("backward")
    first = 1 if is_backward else 0  # the gradient of the output comes before the query
    query, key, value = (tensor.shape for tensor in event.args[first : first + 3])
    scores = math.prod(query) * key[-2]
    context = scores // query[-1] * value[-1]
    macs = 3 * scores + 2 * context if is_backward else scores + context
    return CounterEntry(macs, mismatch="causal attention counted in full")
