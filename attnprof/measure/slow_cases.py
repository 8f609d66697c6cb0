"""Cases that would take far longer than the budget allows: known before they are begun."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from attnprof import kernels
from attnprof.analysis.predictions import predict_case, samples_of
from attnprof.core.errors import AttnprofError
from attnprof.core.machine import Machine
from attnprof.core.records import Record
from attnprof.core.units import format_long_duration
from attnprof.core.workload import Case, DType
from attnprof.isolation.workers import Workers
from attnprof.measure import worker_tasks

FAR_PAST = 2.0
"""One call that takes longer than this many budgets is too slow: its rounds alone, four at the
least, would take eight."""

SLOWEST_RATE = 10**10
"""MACs a second that every machine is taken to reach: what is not too slow with them is not looked
into, which spares measuring the rate of this one."""

RATE_SECONDS = 0.3


class SlowCases:
    """Tells which cases are too slow to be begun.

    The time of a call is predicted from shorter lengths of its series, else from a stored machine.
    Where neither tells it, it is the least that its MACs could take here, at the best rate of a
    matrix product, which is measured when it is first needed.

    Args:
        max_seconds: the budget for the rounds of one length.
        workers: make the process that the rate is measured in.
        timeout: seconds, for measuring the rate.
        machine: has times, and rates.
        is_allowed: whether slow cases run all the same.
    """

    def __init__(
        self,
        max_seconds: float,
        workers: Workers,
        timeout: float,
        machine: Machine | None = None,
        *,
        is_allowed: bool = False,
    ) -> None:
        self._max_seconds = max_seconds
        self._workers = workers
        self._timeout = timeout
        self._machine = machine
        self._is_allowed = is_allowed
        self._rates: dict[DType, int] = {}

    def reason(self, case: Case, taken: Sequence[Record]) -> str:
        """Why a case is not begun; empty where it is.

        Args:
            case: what is to run.
            taken: records of shorter lengths.
        """
        if self._is_allowed:
            return ""
        least_ns = self._least_ns(case, taken)
        if least_ns <= FAR_PAST * self._max_seconds * 1e9:
            return ""
        return (
            f"one call is predicted to take {format_long_duration(round(least_ns))} or more, far "
            f"past --max-seconds {self._max_seconds:g}; raise it, or add --allow-slow"
        )

    def _least_ns(self, case: Case, taken: Sequence[Record]) -> float:
        """What a call takes at the least, as far as anything tells; 0 where nothing does."""
        forecast = predict_case(case, samples_of(taken, case, are_calm=True), self._machine)
        if forecast is not None:
            return forecast.time.low_ns
        macs = 0
        with suppress(AttnprofError, RuntimeError, ValueError, TypeError):  # it may have no count
            macs = kernels.find(case.kernel).executed_macs(case.workload)
        if macs <= FAR_PAST * self._max_seconds * SLOWEST_RATE:
            return 0.0
        rate = self._rate(case)
        return 1e9 * macs / rate if rate else 0.0

    def _rate(self, case: Case) -> int:
        """MACs a second of a product here, at best; 0 where it cannot be measured."""
        dtype, device = case.workload.dtype, case.workload.device
        if dtype not in self._rates:
            outcome = self._workers.run(
                worker_tasks.fastest_rate, dtype, device, RATE_SECONDS, max_seconds=self._timeout
            )
            self._rates[dtype] = outcome.value or 0
        return self._rates[dtype]
