"""Where the MACs of a call are, by module and by operator, and how each part grows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from attnprof import kernels
from attnprof.analysis.breakdown_table import Breakdown, By, Part, exponent_since
from attnprof.core.errors import MeasurementError, describe_error
from attnprof.core.units import format_count
from attnprof.core.workload import Case
from attnprof.measure import Observer
from attnprof.measure.feasibility import feasibility
from attnprof.measure.request import run_in_kernel_process

if TYPE_CHECKING:
    from attnprof.counting.call import Build, Call
    from attnprof.counting.operator_counts import OperatorCounts, OperatorTally

_T = TypeVar("_T")


@dataclass(slots=True)
class _Total:
    """Calls and MACs of one part; MACs are None once an operator without a formula is included."""

    calls: int = 0
    macs: int | None = 0

    def add(self, tally: OperatorTally) -> None:
        self.calls += tally.calls
        if self.macs is not None:
            self.macs = self.macs + tally.macs if tally.is_counted else None


def break_down(cases: Sequence[Case], observe: Observer = lambda activity, done: None) -> Breakdown:
    """Count the operators of every case.

    A case is counted on fake tensors, or on real ones if its shapes depend on data.

    Args:
        cases: what to count.
        observe: called with the current activity and the fraction of all work done.
    """
    result = Breakdown([], [])
    shorter: dict[tuple[str, By, str], tuple[int, int]] = {}
    for index, case in enumerate(cases):
        observe(
            f"{case.kernel} at {format_count(case.workload.seq_len)}: counting",
            index / len(cases),
        )
        try:
            counts = run_in_kernel_process(count_case_operators, case)
        except Exception as error:
            result.failures.append((case, describe_error(error)))
            continue
        n = case.workload.seq_len
        for by, part, total in _parts(counts):
            key: tuple[str, By, str] = (case.kernel, by, part)
            growth = exponent_since(shorter.get(key), n, total.macs)
            if total.macs:
                shorter[key] = (n, total.macs)
            share = _share(total.macs, counts)
            result.parts.append(
                Part(case.kernel, n, by, part, total.calls, total.macs, share, growth)
            )
    return result


def _share(macs: int | None, counts: OperatorCounts) -> float | None:
    """The fraction of all MACs; None if any operator has no formula."""
    if macs is None or not counts.macs or counts.uncounted:
        return None
    return macs / counts.macs


def count_case_operators(case: Case) -> OperatorCounts:
    """Count the operators of a case, on fake tensors, or on real ones if shapes depend on data.

    Raises:
        MeasurementError: when the kernel does not support the case, or it cannot be run.
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
    """Apply `take` to a case's call on fake tensors, or on real ones if fake ones do not suffice.

    Args:
        case: what to build.
        take: runs the call and returns a result.
        build: builds the call; None for the case's kernel.
        may_be_real: whether a real run is allowed.

    Raises:
        MeasurementError: when a real run is needed but is not allowed or does not fit in memory.
    """
    from attnprof.counting.fake_tensors import on_fake_tensors, why_not_fake

    def check_room(error: Exception) -> None:
        if not may_be_real:
            raise MeasurementError(why_not_fake(error))
        status, reason = feasibility(case)
        if status != "ok":
            raise MeasurementError(f"{why_not_fake(error)}, and a real run {reason}")

    def build_kernel() -> Call:
        return kernels.find(case.kernel).build(case.workload)

    return on_fake_tensors(build or build_kernel, take, check_room)


def _parts(counts: OperatorCounts) -> Iterator[tuple[By, str, _Total]]:
    """Modules in the order in which they first run, each after its parent; then operators."""
    totals: dict[tuple[By, str], _Total] = {("module", ""): _Total()}
    for (module_path, operator), tally in counts.tallies.items():
        for path in _with_parents(module_path):
            totals.setdefault(("module", path), _Total()).add(tally)
        totals.setdefault(("operator", operator), _Total()).add(tally)
    for (by, part), total in sorted(totals.items(), key=lambda item: item[0][0]):
        yield by, part, total


def _with_parents(module_path: str) -> list[str]:
    """The root "", then every parent, then the module itself."""
    names = module_path.split(".") if module_path else []
    return [".".join(names[:depth]) for depth in range(len(names) + 1)]
