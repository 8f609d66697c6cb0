"""MACs at operator level: the reference for the formulas and for all other counters.

An operator that torch dispatches either has a formula or is known to multiply no matrices. Any
other makes the count an error that names it.
"""

from __future__ import annotations

from attnprof.counting.call import Build, Call
from attnprof.counting.fake_tensors import on_fake_tensors
from attnprof.counting.operator_counts import count_operators
from attnprof.counting.reconciliation import Reconciliation

quantity = "operator_macs"


def count(build: Build) -> int:
    """MACs of every matrix product that the call runs, forward and backward.

    Raises:
        MeasurementError: if the call runs operators without a MAC formula.
    """
    return on_fake_tensors(build, _count)


def _count(call: Call) -> int:
    return count_operators(call.run).complete_macs


def explain(build: Build) -> Reconciliation:
    """It counts everything, so there are no differences."""
    return Reconciliation(count(build))
