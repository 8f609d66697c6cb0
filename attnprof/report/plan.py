"""What a comparison would run, as tables and sentences: its cases, their time and their memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from attnprof.analysis.series import labels
from attnprof.core.records import case_record
from attnprof.core.result_table import ResultTable, Row
from attnprof.core.units import counted, format_bytes, format_count, format_long_duration
from attnprof.core.workload import Case
from attnprof.report.columns import EMPTY
from attnprof.report.overview.model import OverviewTable

Fate = Literal["runs", "done", "unsupported", "does not fit", "too slow", "error"]


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """One case and what is predicted of it.

    Attributes:
        case: the case.
        fate: whether it runs, is done already, or why it does not run.
        reason: more on that; empty if it runs or is done.
        time_ns: of one call; None where there is nothing to predict it from.
        memory_bytes: the peak of one call, its parameters and its inputs; None if not known.
    """

    case: Case
    fate: Fate
    reason: str = ""
    time_ns: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """Cases that are timed in the same rounds.

    Attributes:
        setting: of the study; empty if it has one.
        cases: of the group.
    """

    setting: str
    cases: tuple[PlannedCase, ...]

    @property
    def runs(self) -> bool:
        """Whether a case of it is to be measured."""
        return any(planned.fate == "runs" for planned in self.cases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a comparison would run.

    Attributes:
        groups: in the order in which they run.
        num_cases: of the whole study.
        shard: the part that is planned, such as `2/8`; empty for all.
        seconds: budget of the timed rounds of one group; 0 if nothing is timed.
        least_rounds: that are timed in any case.
        available_bytes: that a call may allocate; None where that is not known without the device.
        basis: what times are predicted from; empty if from nothing.
    """

    groups: tuple[PlannedGroup, ...]
    num_cases: int
    shard: str
    seconds: float
    least_rounds: int
    available_bytes: int | None
    basis: str

    @property
    def cases(self) -> list[PlannedCase]:
        """The cases of all groups."""
        return [planned for group in self.groups for planned in group.cases]

    def of_fate(self, fate: Fate) -> list[PlannedCase]:
        """The cases of one fate."""
        return [planned for planned in self.cases if planned.fate == fate]

    @property
    def most_seconds(self) -> float:
        """The most that all timed rounds take: the budget, or the least rounds of slow cases."""
        return sum(
            max(self.seconds, self.least_rounds * _round_ns(group) / 1e9)
            for group in self.groups
            if group.runs and self.seconds
        )


def _round_ns(group: PlannedGroup) -> int:
    return sum(planned.time_ns or 0 for planned in group.cases if planned.fate == "runs")


def plan_tables(plan: Plan) -> Iterator[OverviewTable]:
    """A table for each setting: a row for each case."""
    every = [planned.case for planned in plan.cases]
    label_of = labels(ResultTable(case_record(case, "ok", "") for case in every))
    has_times = any(planned.time_ns is not None for planned in plan.cases)
    has_fates = any(planned.fate != "runs" for planned in plan.cases)
    columns = (
        "tokens",
        *(("time of a call",) if has_times else ()),
        "memory",
        *(("status",) if has_fates else ()),
    )
    for setting in dict.fromkeys(group.setting for group in plan.groups):
        rows: list[tuple[str, ...]] = []
        for planned in (p for g in plan.groups if g.setting == setting for p in g.cases):
            workload = planned.case.workload
            time = EMPTY if planned.time_ns is None else format_long_duration(planned.time_ns)
            memory = planned.memory_bytes
            rows.append(
                (
                    label_of(Row(planned.case.kernel, workload)),
                    format_count(workload.seq_len),
                    *((time if time == EMPTY else f"≈ {time}",) if has_times else ()),
                    EMPTY if memory is None else format_bytes(memory),
                    *(("" if planned.fate == "runs" else planned.fate,) if has_fates else ()),
                )
            )
        yield OverviewTable(setting or "kernel", columns, tuple(rows))


def plan_sentences(plan: Plan) -> list[str]:
    """The totals: cases, what does not run and why, time, and memory."""
    running = plan.of_fate("runs")
    groups = counted(sum(group.runs for group in plan.groups), "group")
    here = f"{counted(len(plan.cases), 'case')}{f' of shard {plan.shard}' if plan.shard else ''}"
    to_run = f"{len(running)} to run, in {groups} of cases that are timed in the same rounds"
    rest = to_run if running else "nothing to run"
    lines = [f"{len(plan.of_fate('done'))} of {here} done; {rest}."]
    if plan.shard:
        lines.append(f"All shards together have {counted(plan.num_cases, 'case')}.")
    lines += list(_not_run(plan))
    if running:
        lines.append(_time(plan))
        lines.append(_memory(running, plan.available_bytes))
    return lines


def _not_run(plan: Plan) -> Iterator[str]:
    """The cases that do not run, by their reasons."""
    fates: Sequence[Fate] = ("unsupported", "does not fit", "too slow", "error")
    for fate in fates:
        planned = plan.of_fate(fate)
        if planned:
            first = planned[0]
            where = f"{first.case.kernel} at {format_count(first.case.workload.seq_len)}"
            more = f", and {len(planned) - 1} more" if len(planned) > 1 else ""
            yield f"{len(planned)} {fate}: {where}{more} ({first.reason})."


def _time(plan: Plan) -> str:
    if not plan.seconds:
        return "Nothing is timed; how long counting and memory take is not predicted."
    most = format_long_duration(round(plan.most_seconds * 1e9))
    basis = f" One call: predicted from {plan.basis}." if plan.basis else ""
    return (
        f"Timed rounds: at most {most}, up to {plan.seconds:g} s (--max-seconds) for each group; "
        f"building, counting and memory come on top and are not predicted.{basis}"
    )


def _memory(running: Sequence[PlannedCase], available: int | None) -> str:
    known = [planned for planned in running if planned.memory_bytes is not None]
    if not known:
        return "Memory: not known before the kernels run."
    largest = max(known, key=lambda planned: planned.memory_bytes or 0)
    where = f"{largest.case.kernel} at {format_count(largest.case.workload.seq_len)}"
    free = "" if available is None else f"; {format_bytes(available)} available"
    return f"Memory: up to {format_bytes(largest.memory_bytes or 0)} ({where}){free}."
