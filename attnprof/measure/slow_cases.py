"""Cases that would take far longer than the budget, found before they are started."""

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
"""A call that takes longer than this many budgets is too slow: its rounds alone, at least four,
would take eight budgets."""

SLOWEST_RATE = 10**10
"""MACs per second that every machine is assumed to reach. A case that is fast enough at this rate
is run without measuring the rate of this machine."""

RATE_SECONDS = 0.3


class SlowCases:
    """Decides which cases are too slow to start.

    The time of a call is predicted from shorter lengths of its series, or else from a stored
    machine. If neither has a prediction, its lower bound is used: the time of its MACs at the best
    rate of a matrix product on this machine, which is measured when first needed.

    Args:
        max_seconds: budget for the rounds of one length.
        workers: start the process that the rate is measured in.
        timeout: limit in seconds for measuring the rate.
        machine: stored machine with times of kernels; None for none.
        is_allowed: whether slow cases run anyway.
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

    def reason(self, case: Case, records: Sequence[Record]) -> str:
        """Why a case is not started; empty if it is.

        Args:
            case: what is to run.
            records: of shorter lengths.
        """
        if self._is_allowed:
            return ""
        least_ns = self._least_ns(case, records)
        if least_ns <= FAR_PAST * self._max_seconds * 1e9:
            return ""
        return (
            f"one call is predicted to take at least {format_long_duration(round(least_ns))}, far "
            f"beyond --max-seconds {self._max_seconds:g}; raise it, or add --allow-slow"
        )

    def _least_ns(self, case: Case, records: Sequence[Record]) -> float:
        """Lower bound of the time of one call, in nanoseconds; 0 if nothing is known."""
        prediction = predict_case(case, samples_of(records, case, are_calm=True), self._machine)
        if prediction is not None:
            return prediction.time.low_ns
        macs = 0
        with suppress(
            AttnprofError, RuntimeError, ValueError, TypeError
        ):  # its MACs may be unknown
            macs = kernels.find(case.kernel).executed_macs(case.workload)
        if macs <= FAR_PAST * self._max_seconds * SLOWEST_RATE:
            return 0.0
        rate = self._rate(case)
        return 1e9 * macs / rate if rate else 0.0

    def _rate(self, case: Case) -> int:
        """Best MACs per second of a matrix product here; 0 if it cannot be measured."""
        dtype, device = case.workload.dtype, case.workload.device
        if dtype not in self._rates:
            outcome = self._workers.run(
                worker_tasks.fastest_rate, dtype, device, RATE_SECONDS, max_seconds=self._timeout
            )
            self._rates[dtype] = outcome.value or 0
        return self._rates[dtype]
