"""MACs at operator level: the truth that formulas and other counters are held to.

Every operator that torch dispatches has a formula, is known to multiply no matrices, or makes the
count an error that names it.
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
        MeasurementError: when the call runs operators that no formula is known for.
    """
    return on_fake_tensors(build, _count)


def _count(call: Call) -> int:
    return count_operators(call.run).complete_macs


def explain(build: Build) -> Reconciliation:
    """It sees all of the whole call."""
    return Reconciliation(count(build))
