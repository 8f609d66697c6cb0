"""What the client knows of a group: its records so far, and which of its cases end their worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from attnprof.core.records import CASE, Record, case_record, failure_record
from attnprof.core.workload import Case
from attnprof.measure.on_dask.messages import (
    IN_ROUNDS,
    WireRecord,
    read_wire_record,
    wire_record,
)

MOST_DEATHS = 2
"""After a case has ended its worker so many times, it is given up."""


@dataclass(slots=True)
class GroupState:
    """A group of cases, measured by one or more workers, one after the other.

    Attributes:
        cases: of the group, timed in the same rounds.
        known: records so far, by the number of their case and their quantity.
        closed: the numbers of the cases that are finished.
        deaths: how many workers ended while a case ran alone, or while it was timed.
        deaths_in_rounds: how many ended in timed rounds, where the case was not known.
        deaths_before: how many ended before a case had begun.
        last_worker: the address of the worker that it was last sent to.
    """

    cases: Sequence[Case]
    known: dict[tuple[int, str], Record] = field(default_factory=dict[tuple[int, str], Record])
    closed: set[int] = field(default_factory=set[int])
    deaths: Counter[int] = field(default_factory=Counter[int])
    deaths_in_rounds: int = 0
    deaths_before: int = 0
    last_worker: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether all cases are closed."""
        return len(self.closed) == len(self.cases)

    @property
    def is_careful(self) -> bool:
        """Whether to find out which case ends its worker in the timed rounds."""
        return bool(self.deaths_in_rounds)

    def begin(self, earlier: Mapping[Case, Sequence[Record]]) -> Iterator[Record]:
        """Take over the records of an earlier run; yields them."""
        for index, case in enumerate(self.cases):
            yield from self._add(index, earlier.get(case, ()))

    def take(self, records: Iterable[object]) -> Iterator[Record]:
        """Take over records from a worker; yields those that are new."""
        for data in records:
            record = read_wire_record(data, self.cases)
            index = data[0]  # type: ignore[index]
            yield from self._add(index, [record])

    def wire_records(self) -> tuple[WireRecord, ...]:
        """All records so far, as plain data."""
        return tuple(wire_record(index, record) for (index, _), record in self.known.items())

    def worker_died(self, current: tuple[int, bool] | None) -> Iterator[Record]:
        """The worker ended while the group ran; yields the records of cases that are given up.

        Args:
            current: the number of the case that ran and whether it was timed; None if none had
                begun. The number is `IN_ROUNDS` where it is not known.
        """
        index, is_timed = (None, False) if current is None else current
        if index is None or index in self.closed:
            self.deaths_before += 1
            if self.deaths_before >= MOST_DEATHS:
                yield from self._give_up(range(len(self.cases)), "its worker died twice")
        elif index == IN_ROUNDS:
            self.deaths_in_rounds += 1
            if self.deaths_in_rounds >= MOST_DEATHS:
                detail = "its worker died twice while its group was timed"
                yield from self._give_up(range(len(self.cases)), detail)
        else:
            before = self.deaths_in_rounds if is_timed else 0
            self.deaths[index] += 1
            if self.deaths[index] + before >= MOST_DEATHS:
                doing = "was timed" if is_timed else "ran"
                yield from self._give_up([index], f"its worker died twice while it {doing}")

    def fail(self, error: Exception) -> Iterator[Record]:
        """Its task failed; yields the records that close its cases."""
        for index, case in enumerate(self.cases):
            if index not in self.closed:
                yield from self._add(index, [failure_record(case, error)])

    def is_timed(self, record: Record) -> bool:
        """Whether the case of a record was timed."""
        index = self.cases.index(Case(record.kernel, record.workload))
        return (index, "time_ns") in self.known

    def _give_up(self, indices: Iterable[int], detail: str) -> Iterator[Record]:
        for index in indices:
            if index not in self.closed:
                yield from self._add(index, [case_record(self.cases[index], "error", detail)])

    def _add(self, index: int, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            key = (index, record.quantity)
            if key in self.known or index in self.closed:
                continue
            self.known[key] = record
            if record.quantity == CASE:
                self.closed.add(index)
            yield record
