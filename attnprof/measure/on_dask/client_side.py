"""Hands groups of cases to the workers of a Dask cluster, and yields their records as they come."""

from __future__ import annotations

import json
import queue
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distributed import Future
from distributed.scheduler import KilledWorker

from attnprof.core.errors import MeasurementError
from attnprof.core.machine import Machine
from attnprof.core.records import CASE, FAILURES, MACHINE, Record
from attnprof.core.units import counted
from attnprof.core.workload import Case
from attnprof.kernels.custom.mask_function import source_digest
from attnprof.measure import Observer
from attnprof.measure.on_dask import worker_side
from attnprof.measure.on_dask.cluster import Cluster, DaskWorker, event_of
from attnprof.measure.on_dask.group_state import GroupState
from attnprof.measure.on_dask.messages import (
    FINISHED,
    LOST,
    RECORDS,
    REFUSED,
    STALE,
    STARTED,
    TOPIC,
    GroupTask,
    case_data,
    to_text,
)
from attnprof.measure.runner import ResumedRecords
from attnprof.measure.single_case import MeasureSettings

_POLL_SECONDS = 0.5


@dataclass(slots=True)
class _Attempt:
    """A group on a worker.

    Attributes:
        group: what is measured.
        worker: that it was sent to.
        future: of the task.
        received: how many of its records have come.
        current: the number of the case that runs and whether it is timed; None if none has begun.
        is_complete: whether all records have come.
    """

    group: GroupState
    worker: DaskWorker
    future: Future[Any]
    received: int = 0
    current: tuple[int, bool] | None = None
    is_complete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What the groups of a run have in common.

    Attributes:
        measurements: what to measure.
        machine: stored machine for predictions; None for none.
        sources: digests of the sources of custom kernels, by name.
    """

    measurements: MeasureSettings
    machine: Machine | None
    sources: Mapping[str, str]


def measure_on_dask(
    groups: Sequence[Sequence[Case]],
    settings: RunSettings,
    cluster: Cluster,
    observe: Observer,
    earlier: ResumedRecords,
) -> Iterator[Record]:
    """Measure groups on the workers of a cluster; as `runner.measure`, but in any order.

    Raises:
        MeasurementError: when the scheduler is gone, or no worker is left.
    """
    run = _Run(groups, settings, cluster, observe)
    try:
        yield from run.records(earlier)
    finally:
        run.cancel()


class _Run:
    def __init__(
        self,
        groups: Sequence[Sequence[Case]],
        settings: RunSettings,
        cluster: Cluster,
        observe: Observer,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._observe = observe
        self._waiting = deque(GroupState(cases) for cases in groups)
        self._attempts: dict[int, _Attempt] = {}
        self._count = 0
        self._cases = sum(map(len, groups))
        self._closed = 0
        self._last_worker_seen = time.monotonic()

    def records(self, earlier: ResumedRecords) -> Iterator[Record]:
        """All records, as they come."""
        unfinished: deque[GroupState] = deque()
        for group in self._waiting:
            yield from self._noted(group, group.begin(earlier))
            if not group.is_finished:
                unfinished.append(group)
        self._waiting = unfinished
        next_refresh = time.monotonic()
        while self._waiting or self._attempts:
            self._hand_out()
            self._report()
            try:
                kind, content = self._cluster.inbox.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                pass
            else:
                yield from self._on_message(kind, content)
            if time.monotonic() >= next_refresh:
                self._refresh()
                next_refresh = time.monotonic() + _POLL_SECONDS

    def cancel(self) -> None:
        """Cancel what still runs, without waiting for it."""
        for attempt in self._attempts.values():
            attempt.future.cancel()
        self._attempts.clear()

    def _hand_out(self) -> None:
        busy = {attempt.worker.address for attempt in self._attempts.values()}
        for worker in list(self._cluster.workers.values()):
            if worker.address not in busy and self._waiting:
                self._send(self._next_for(worker), worker)

    def _next_for(self, worker: DaskWorker) -> GroupState:
        """The next group, if possible one that this worker has not just lost."""
        for group in self._waiting:
            if group.last_worker != worker.address:
                self._waiting.remove(group)
                return group
        return self._waiting.popleft()

    def _send(self, group: GroupState, worker: DaskWorker) -> None:
        self._count += 1
        number, settings = self._count, self._settings
        task = GroupTask(
            run=self._cluster.greeting.run,
            attempt=number,
            token=worker.reply.token,
            cases=tuple(map(case_data, group.cases)),
            settings=settings.measurements,
            known=group.wire_records(),
            machine=settings.machine,
            sources=settings.sources,
            masks=source_digest(group.cases),
            is_careful=group.is_careful,
        )
        group.last_worker = worker.address
        future = self._cluster.submit(worker_side.measure_group, to_text(task), worker.address)
        self._attempts[number] = _Attempt(group, worker, future)
        inbox = self._cluster.inbox

        def note_end(future: Future[Any]) -> None:
            inbox.put(("done", number))

        future.add_done_callback(note_end)

    def _on_message(self, kind: str, content: Any) -> Iterator[Record]:
        if kind == "done":
            yield from self._on_done(content)
            return
        run, number, kind, content = event_of(content)
        attempt = self._attempts.get(number)
        if run == self._cluster.greeting.run and attempt is not None:
            yield from self._on_event(number, attempt, kind, content)

    def _on_event(
        self, number: int, attempt: _Attempt, kind: str, content: Any
    ) -> Iterator[Record]:
        if kind == STARTED:
            attempt.current = (content[0], content[1])
        elif kind == RECORDS:
            first, records = content
            if first == attempt.received:
                attempt.received += len(records)
                yield from self._of_worker(attempt, attempt.group.take(records))
        elif kind == FINISHED:
            attempt.is_complete = content == attempt.received
        elif kind == REFUSED:
            self._cluster.refuse(attempt.worker.address, content)
            self._put_back(number)
        elif kind == STALE:
            self._cluster.forget(attempt.worker.address)
            self._put_back(number)
        elif kind == LOST:
            yield from self._on_lost(number)

    def _on_done(self, number: int) -> Iterator[Record]:
        """A task has ended: on its worker, or because the scheduler is gone.

        Raises:
            MeasurementError: when the scheduler is gone.
        """
        attempt = self._attempts.get(number)
        if attempt is None:
            return
        if self._cluster.client.status != "running":
            raise MeasurementError(self._cluster.lost_message())
        if attempt.is_complete and attempt.group.is_finished:
            del self._attempts[number]
            attempt.future.release()
            return
        if attempt.future.status == "error":
            error = attempt.future.exception(timeout=_POLL_SECONDS)
            if isinstance(error, Exception) and not isinstance(error, KilledWorker):
                yield from self._of_worker(attempt, attempt.group.fail(error))
        self._note_lost(number)

    def _on_lost(self, number: int) -> Iterator[Record]:
        attempt = self._attempts[number]
        yield from self._of_worker(attempt, attempt.group.worker_died(attempt.current))
        self._put_back(number)

    def _put_back(self, number: int) -> None:
        attempt = self._attempts.pop(number)
        attempt.future.cancel()
        if not attempt.group.is_finished:
            self._waiting.appendleft(attempt.group)

    def _note_lost(self, number: int) -> None:
        """Have the scheduler send back that an attempt is lost, behind all events of the worker."""
        text = json.dumps([self._cluster.greeting.run, number, LOST, None])
        self._cluster.client.log_event(TOPIC, text)

    def _refresh(self) -> None:
        """Look for workers that have come or gone.

        Raises:
            MeasurementError: when the scheduler is gone, or when there was no worker for too long.
        """
        lost = self._cluster.refresh()
        for number, attempt in self._attempts.items():
            if attempt.worker.address in lost:
                self._note_lost(number)
        now = time.monotonic()
        if self._cluster.workers:
            self._last_worker_seen = now
        elif refusal := self._cluster.refusal():
            raise MeasurementError(f"no Dask worker can be used any more: {refusal}")
        elif now - self._last_worker_seen > self._settings.measurements.timeout:
            waited = f"no Dask worker joined within {self._settings.measurements.timeout:g} s"
            raise MeasurementError(f"{waited}; start one with {self._cluster.start}, and --resume")

    def _of_worker(self, attempt: _Attempt, records: Iterator[Record]) -> Iterator[Record]:
        """The records of a worker; before a case is closed comes the name of its machine."""
        worker = attempt.worker
        for record in self._noted(attempt.group, records):
            if record.quantity != CASE:
                yield record
                continue
            machine = self._cluster.machine_of(worker, record.workload.device)
            if machine:
                yield Record(record.kernel, record.workload, MACHINE, detail=machine)
            notes = [record.detail]
            if machine and record.status in FAILURES:
                notes.append(f"on {worker.address}")
            elif worker.sharers > 1 and attempt.group.is_timed(record):
                others = counted(worker.sharers - 1, "other worker")
                notes.append(f"timed beside {others} on this machine")
            yield replace(record, detail="; ".join(filter(None, notes)))

    def _noted(self, group: GroupState, records: Iterator[Record]) -> Iterator[Record]:
        """The records; counts the cases that they close."""
        before = len(group.closed)
        yield from records
        self._closed += len(group.closed) - before

    def _report(self) -> None:
        part = self._closed / max(1, self._cases)
        self._observe(activity(self._closed, self._cases, len(self._cluster.workers)), part)


def activity(closed: int, cases: int, workers: int) -> str:
    """What a run does now, with so many of its cases closed and so many workers."""
    done = f"{closed} of {counted(cases, 'case')}"
    if closed == cases:
        return f"{done}, closing the workers"
    waiting = "" if workers else ", waiting for a worker"
    return f"{done}, {counted(workers, 'worker')}{waiting}"
