"""torch's own `FlopCounterMode` as it comes, in MACs."""

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


class _WholeCall:
    """Takes the place of torch's tracker of modules, whose hooks some modules do not stand.

    Its sum over modules has no part in the sum of all. Source: torch/utils/module_tracker.py.
    """

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        """Begins nothing."""

    def __exit__(self, *error: object) -> None:
        """Ends nothing."""


def _count(call: Call) -> int:
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = cast("Any", _WholeCall())
    with counter:
        call.run()
    return counter.get_total_flops() // 2


def explain(build: Build) -> Reconciliation:
    """What it sees of the whole call."""
    return on_fake_tensors(build, lambda call: reconcile(call.run, _sees))


def _sees(span: CallEvent) -> CounterEntry | None:
    """Source: torch/utils/flop_counter.py."""
    if span.kind != "operator" or span.subject not in flop_registry:
        return None
    if "attention" not in str(span.subject):
        return CounterEntry(span.macs)
    is_backward = str(span.subject).endswith("backward")
    query, key, value = (tensor.shape for tensor in span.args[is_backward : is_backward + 3])
    scores = math.prod(query) * key[-2]
    context = scores // query[-1] * value[-1]
    macs = 3 * scores + 2 * context if is_backward else scores + context
    return CounterEntry(macs, mismatch="causal attention counted in full")
