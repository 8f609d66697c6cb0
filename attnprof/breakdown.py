"""Where the MACs of a call are: by module and by operator, and how each part grows."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from attnprof import kernels
from attnprof.core.errors import MeasurementError, describe_error
from attnprof.core.growth.polynomial import doubling_exponent
from attnprof.core.workload import Case
from attnprof.fitting import obstacle
from attnprof.measure.request import where_it_runs

if TYPE_CHECKING:
    from attnprof.counting.call import Build, Call
    from attnprof.counting.operator_counts import OperatorCounts

By = Literal["module", "operator"]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Part:
    """One module with all inside it, or one operator wherever it runs.

    Attributes:
        kernel: name of the kernel.
        seq_len: tokens.
        by: `module` or `operator`.
        part: the module's path, empty for the whole, or the operator's name.
        calls: of operators, in the part.
        macs: of the part; None where one of its operators has no formula.
        share: of the MACs of the whole, 0 to 1; None where these are not known.
        growth: the exponent k of MACs ~ n^k from the length before; None at the first length.
    """

    kernel: str
    seq_len: int
    by: By
    part: str
    calls: int
    macs: int | None
    share: float | None
    growth: float | None = None


@dataclass(slots=True)
class Breakdown:
    """Parts of every case, and the cases that could not be counted, with the reason."""

    parts: list[Part]
    failures: list[tuple[Case, str]]

    def to_csv(self) -> str:
        """One row for each part; empty where there is no value."""
        import pandas as pd

        text = io.StringIO()
        columns = list(Part.__dataclass_fields__)
        frame = pd.DataFrame([asdict(part) for part in self.parts], columns=columns, dtype=object)
        frame.to_csv(text, index=False, lineterminator="\n")
        return text.getvalue()

    def to_json(self) -> str:
        """The parts and the failures."""
        import json

        failures = [
            {"kernel": case.kernel, "seq_len": case.workload.seq_len, "reason": reason}
            for case, reason in self.failures
        ]
        parts = [asdict(part) for part in self.parts]
        return json.dumps({"parts": parts, "failures": failures}, indent=2) + "\n"


def break_down(cases: Iterable[Case]) -> Breakdown:
    """Count every case on fake tensors, or on real ones where shapes depend on data."""
    result = Breakdown([], [])
    before: dict[tuple[str, By, str], tuple[int, int]] = {}
    for case in cases:
        try:
            counts = where_it_runs(count, case)
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


def count(case: Case) -> OperatorCounts:
    """The operators of a case, on fake tensors, or on real ones where shapes depend on data.

    Raises:
        MeasurementError: when the kernel does not take the case, or it cannot be run.
    """
    reason = kernels.find(case.kernel).supports(case.workload)
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
        status, reason = obstacle(case)
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
