"""`compare --dry-run`: what a comparison would run, from closed forms and earlier results."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from attnprof import kernels
from attnprof.analysis.predictions import predict_case, samples_of
from attnprof.api.compare_options import CheckedOptions, CompareOptions, check_options
from attnprof.core.errors import AttnprofError, UsageError, describe_error
from attnprof.core.machine import Machine
from attnprof.core.records import FAILURES, INTERRUPTED, Record
from attnprof.core.result_table import ResultTable
from attnprof.core.workload import Case, Device
from attnprof.isolation.system_memory import available_bytes
from attnprof.measure.feasibility import feasibility
from attnprof.measure.request import open_kernel_processes
from attnprof.measure.rounds import MIN_ROUNDS_BEYOND_BUDGET
from attnprof.measure.slow_cases import FAR_PAST
from attnprof.options.selection import read_groups
from attnprof.report.plan import Fate, Plan, PlannedCase, PlannedGroup
from attnprof.report.saved import read_table

_UNKNOWN_BYTES = 1 << 62


def plan_compare(options: CompareOptions) -> Plan:
    """What `compare` would run with these options; nothing is measured, and nothing is written.

    Results at the path of `json`, or in the records beside it, count as done, and times are
    predicted from them. Torch is loaded for custom kernels only, which are built on fake tensors.
    `device` `auto` is the device of a machine profile, else `cpu`.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    checked = check_options(options)
    device: Device = checked.machine.device if checked.machine else "cpu"
    devices: dict[str, Device] = {
        name: device if name == "auto" else cast("Device", name)
        for name in checked.selection.device_names
    }
    earlier = _earlier(checked)
    isolation = {
        "kernel": checked.kernel_names,
        "timeout": options.get("timeout"),
        "no_isolation": options.get("no_isolation"),
    }
    with open_kernel_processes(isolation):
        groups = read_groups(checked.selection, devices)
        planner = _Planner(checked, earlier)
        planned = tuple(
            PlannedGroup(groups.settings[group[0]], planner.group(group)) for group in groups.here
        )
    return Plan(
        groups=planned,
        num_cases=sum(map(len, groups.every)),
        shard="" if groups.shard.count == 1 else str(groups.shard),
        seconds=checked.measurements.max_seconds if checked.measurements.time else 0.0,
        least_rounds=MIN_ROUNDS_BEYOND_BUDGET,
        available_bytes=planner.available("cpu") if set(devices.values()) == {"cpu"} else None,
        basis=_basis(planner.sampled, checked.machine),
    )


def _basis(has_samples: bool, machine: Machine | None) -> str:
    names = ["the times of finished cases"] if has_samples else []
    if machine is not None:
        names.append("--machine")
    return " and ".join(names)


def _earlier(checked: CheckedOptions) -> ResultTable:
    """The results of an earlier run at the same path; an empty table without any."""
    json, journal = checked.options.get("json"), checked.journal_path
    for path in (journal, json if journal else None):
        if path is not None and Path(path).is_file():
            with suppress(UsageError):  # what cannot be resumed is measured again
                return read_table(str(path), ResultTable)
    return ResultTable()


@dataclass(slots=True)
class _Planner:
    """Decides what becomes of each case.

    Attributes:
        checked: the options.
        earlier: results of an earlier run.
        sampled: whether a time is predicted from earlier results.
    """

    checked: CheckedOptions
    earlier: ResultTable
    sampled: bool = False
    _available: dict[Device, int | None] = field(default_factory=dict[Device, int | None])

    def available(self, device: Device) -> int | None:
        """Bytes that a call may allocate; of CUDA, as the machine profile has it, or None."""
        if device not in self._available:
            machine = self.checked.machine
            if device == "cpu":
                self._available[device] = available_bytes(device)
            else:
                self._available[device] = machine.memory_bytes if machine else None
        return self._available[device]

    def group(self, cases: Sequence[Case]) -> tuple[PlannedCase, ...]:
        """The cases of one group, which are in memory at the same time while they are timed."""
        done = {
            Case(row.kernel, row.workload)
            for row in self.earlier.rows
            if row.detail != INTERRUPTED
            and (row.status in FAILURES or self._has_all(set(row.values), row.status))
        }
        planned: list[PlannedCase] = []
        static_bytes = 0
        for case in cases:
            one = self._case(case, static_bytes, is_done=case in done)
            if one.fate == "runs":
                static_bytes += kernels.find(case.kernel).static_bytes(case.workload)
            planned.append(one)
        return tuple(planned)

    def _has_all(self, quantities: set[str], status: str) -> bool:
        """Whether nothing is left to measure of a case of an earlier run."""
        measurements = self.checked.measurements
        wanted = {
            name
            for name, is_wanted in (
                ("operator_macs", measurements.count),
                ("peak_bytes", measurements.memory),
                ("time_ns", measurements.time),
            )
            if is_wanted
        }
        return status == "ok" and wanted <= quantities

    def _case(self, case: Case, static_bytes: int, *, is_done: bool) -> PlannedCase:
        try:
            kernel, workload = kernels.find(case.kernel), case.workload
            if is_done:
                return PlannedCase(case, "done")
            available = self.available(workload.device)
            free = _UNKNOWN_BYTES if available is None else available
            status, reason = feasibility(case, static_bytes, free)
            if status == "unsupported":
                return PlannedCase(case, "unsupported", reason)
            memory = kernel.static_bytes(workload)
            with suppress(AttnprofError):  # some custom kernels have no predicted peak
                memory += kernel.peak_bytes(workload)
            time_ns, is_slow = self._time(case, self.earlier.records)
        except Exception as error:
            return PlannedCase(case, "error", describe_error(error))
        fate: Fate = "runs" if status == "ok" else "does not fit"
        if fate == "runs" and is_slow:
            fate, reason = "too slow", "far beyond --max-seconds; raise it, or add --allow-slow"
        return PlannedCase(case, fate, reason, time_ns, memory)

    def _time(self, case: Case, records: Sequence[Record]) -> tuple[int | None, bool]:
        """The predicted time of one call, if any, and whether that is too slow to start."""
        measurements = self.checked.measurements
        if not measurements.time:
            return None, False
        samples = samples_of(records, case)
        prediction = predict_case(case, samples, self.checked.machine)
        if prediction is None:
            return None, False
        self.sampled = self.sampled or bool(samples)
        limit_ns = FAR_PAST * measurements.max_seconds * 1e9
        is_slow = prediction.time.low_ns > limit_ns and not measurements.allow_slow
        return prediction.time.time_ns, is_slow
