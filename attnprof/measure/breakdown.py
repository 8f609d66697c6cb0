"""Where the MACs of a call are: by module and by operator, and how each part grows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from attnprof import kernels
from attnprof.analysis.breakdown_table import Breakdown, By, Part
from attnprof.core.errors import MeasurementError, describe_error
from attnprof.core.growth.polynomial import doubling_exponent
from attnprof.core.workload import Case
from attnprof.measure.feasibility import feasibility
from attnprof.measure.request import where_it_runs

if TYPE_CHECKING:
    from attnprof.counting.call import Build, Call
    from attnprof.counting.operator_counts import OperatorCounts

_T = TypeVar("_T")


def break_down(cases: Iterable[Case]) -> Breakdown:
    """Count every case on fake tensors, or on real ones where shapes depend on data."""
    result = Breakdown([], [])
    before: dict[tuple[str, By, str], tuple[int, int]] = {}
    for case in cases:
        try:
            counts = where_it_runs(count_case_operators, case)
        except Exception as error:
            result.failures.append((case, describe_error(error)))
            continue
        n = case.workload.seq_len
        for by, part, calls, macs in _parts(counts):
            key: tuple[str, By, str] = (case.kernel, by, part)
            share = macs / counts.macs if macs is not None and counts.macs else None
            growth = None
            if macs and key in before and before[key][0] < n:
                growth = round(doubling_exponent(before[key], (n, macs)), 3)
            if macs:
                before[key] = (n, macs)
            whole = None if counts.uncounted else share
            result.parts.append(Part(case.kernel, n, by, part, calls, macs, whole, growth))
    return result


def count_case_operators(case: Case) -> OperatorCounts:
    """The operators of a case, on fake tensors, or on real ones where shapes depend on data.

    Raises:
        MeasurementError: when the kernel does not take the case, or it cannot be run.
    """
    reason = kernels.find(case.kernel).unsupported_reason(case.workload)
    if reason:
        raise MeasurementError(reason)
    from attnprof.counting.operator_counts import count_operators

    return on_fake_or_real(case, lambda call: count_operators(call.run))


def on_fake_or_real(
    case: Case,
    take: Callable[[Call], _T],
    build: Build | None = None,
    *,
    may_be_real: bool = True,
) -> _T:
    """What `take` says of a case's call on fake tensors, or on real ones where these do not do.

    Args:
        case: whose call it is.
        take: runs it.
        build: makes it; as its kernel does if None.
        may_be_real: whether a real run is worth its time.

    Raises:
        MeasurementError: when a real run is needed, and is not wanted, or there is no room for it.
    """
    from attnprof.counting.fake_tensors import on_fake_tensors, why_not_fake

    def check_room(error: Exception) -> None:
        if not may_be_real:
            raise MeasurementError(why_not_fake(error))
        status, reason = feasibility(case)
        if status != "ok":
            raise MeasurementError(f"{why_not_fake(error)}, and a real run {reason}")

    def as_its_kernel_does() -> Call:
        return kernels.find(case.kernel).build(case.workload)

    return on_fake_tensors(build or as_its_kernel_does, take, check_room)


def _parts(counts: OperatorCounts) -> Iterator[tuple[By, str, int, int | None]]:
    """Modules in the order in which they first run, each after the one that holds it; operators."""
    sums: dict[tuple[By, str], list[int | None]] = defaultdict(lambda: [0, 0])
    sums["module", ""] = [0, 0]
    for (place, operator), tally in counts.tallies.items():
        steps = place.split(".") if place else []
        paths = [".".join(steps[:depth]) for depth in range(len(steps) + 1)]
        keys: list[tuple[By, str]] = [("module", path) for path in paths]
        keys.append(("operator", operator))
        for key in keys:
            entry = sums[key]
            entry[0] = (entry[0] or 0) + tally.calls
            known = entry[1] is not None and tally.is_counted
            entry[1] = (entry[1] or 0) + tally.macs if known else None
    for (by, part), (calls, macs) in sorted(sums.items(), key=lambda item: item[0][0]):
        yield by, part, calls or 0, macs
