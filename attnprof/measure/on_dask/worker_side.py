"""What runs on a Dask worker: it measures one group of cases at a time, in forks of its own.

The process that they are forks of is kept between groups, so that imports are made once.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from distributed import Worker, WorkerPlugin, get_worker
from distributed.utils import sync

from attnprof import kernels
from attnprof.core.cpu import computing_with, usable_cores
from attnprof.core.errors import AttnprofError, describe_error
from attnprof.core.records import Record, failure_record
from attnprof.core.typed_json import parse_object, read_as
from attnprof.core.workload import Case
from attnprof.isolation.system_memory import available_bytes
from attnprof.isolation.workers import open_workers
from attnprof.kernels import custom
from attnprof.kernels.custom import is_target
from attnprof.measure import environment, runner, worker_tasks
from attnprof.measure.on_dask.following import FollowedWorkers, Follower, Stopped
from attnprof.measure.on_dask.messages import (
    STARTED,
    TOPIC,
    Greeting,
    GroupResult,
    GroupTask,
    Reply,
    WireRecord,
    read_case,
    read_wire_record,
    to_text,
    wire_record,
)
from attnprof.measure.on_dask.versions import versions

_PLUGIN = "attnprof"
_OF_SAMPLES = ("executed_macs", "time_ns", "time_low_ns", "time_high_ns", "withheld")
"""Quantities that predict the times of longer lengths."""


@dataclass(slots=True)
class _Session:
    """What one run keeps in this process between its groups.

    Attributes:
        token: identifies it.
        workers: forks of the process that has imported what is needed.
        stack: ends the processes.
        samples: times of this run on this worker, which predict longer ones.
        key: the Dask task that is running; empty without one.
    """

    token: str
    workers: FollowedWorkers
    stack: ExitStack
    samples: list[Record] = field(default_factory=list[Record])
    key: str = ""


class _Sessions(WorkerPlugin):
    """The session of this process, at most one; a plugin that learns when a task is cancelled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open: _Session | None = None

    def replace(self, session: _Session | None) -> None:
        """End the session that is open, if any, and keep another one."""
        before, self.open = self.open, session
        if before is not None:
            before.workers.stop()
            before.stack.close()

    def transition(self, key: Any, start: Any, finish: Any, **kwargs: Any) -> None:
        """End the processes of a running task that was cancelled, or whose client is gone."""
        session = self.open
        if session is not None and start == "executing" and finish == "released":
            if key == session.key:
                session.workers.stop()

    def teardown(self, worker: Worker) -> None:
        """End all processes with the Dask worker."""
        if self.open is not None:
            self.open.workers.stop()


_sessions = _Sessions()


def greet(text: str) -> str:
    """Open a session for a run: compare versions, import what its kernels need, and look around.

    Args:
        text: a `Greeting`.

    Returns:
        A `Reply`.
    """
    greeting = read_as(Greeting, parse_object(text))
    here = versions()
    if here != greeting.versions and not greeting.allows_other_versions:
        differences = "; ".join(here.differences(greeting.versions))
        return to_text(Reply(refusal=f"it has {differences}"))
    with _sessions.lock:
        _watch_for_cancelled_tasks()
        _sessions.replace(None)
        try:
            return to_text(_open_session(greeting))
        except AttnprofError as error:
            _sessions.replace(None)
            return to_text(Reply(refusal=describe_error(error)))


def _watch_for_cancelled_tasks() -> None:
    worker = get_worker()
    if worker.plugins.get(_PLUGIN) is not _sessions:
        sync(worker.loop, worker.plugin_add, plugin=_sessions, name=_PLUGIN)


def _open_session(greeting: Greeting) -> Reply:
    """Open a session and describe this process.

    Raises:
        AttnprofError: when it cannot measure.
    """
    for folder in greeting.search_path:
        if folder not in sys.path:
            sys.path.append(folder)
    threads = greeting.threads or max(1, usable_cores() // greeting.sharers)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    stack = ExitStack()
    # Dask sets these variables to 1 in its workers.
    server = stack.enter_context(
        open_workers(worker_tasks.modules(greeting.kernels), dict.fromkeys(names, str(threads)))
    )
    workers = FollowedWorkers(server)
    token = uuid4().hex
    _sessions.replace(_Session(token, workers, stack))
    stack.enter_context(computing_with(threads))
    stack.enter_context(custom.custom_kernels_in(workers, greeting.timeout))

    def run(function: Any, *args: Any) -> Any:
        return workers.run(function, *args, max_seconds=greeting.timeout).result

    device = run(environment.resolve_device, greeting.device)
    server.is_limited = device == "cpu"
    return Reply(
        token=token,
        device=device,
        environment=run(environment.capture).as_dict(),
        available_bytes=run(available_bytes, device),
    )


def leave(token: str) -> None:
    """End a session, with its processes."""
    with _sessions.lock:
        if _sessions.open is not None and _sessions.open.token == token:
            _sessions.replace(None)


def measure_group(text: str) -> str:
    """Measure a group of cases; its records are events as they come, until rounds are timed.

    Args:
        text: a `GroupTask`.

    Returns:
        A `GroupResult` with all records.
    """
    task = read_as(GroupTask, parse_object(text))
    with _sessions.lock:
        session = _sessions.open
        if session is None or session.token != task.token:
            return to_text(GroupResult(is_stale=True))
        refusal = _other_source(task.sources)
        if refusal:
            return to_text(GroupResult(refusal=refusal))
        with _current_task(session):
            try:
                return to_text(GroupResult(records=tuple(_measured(task, session))))
            except Stopped:
                _sessions.replace(None)
                return to_text(GroupResult(is_stale=True))


@contextmanager
def _current_task(session: _Session) -> Generator[None]:
    session.key = str(get_worker().get_current_task())
    try:
        yield
    finally:
        session.key = ""
        session.workers.follower = None


def _other_source(sources: Mapping[str, str]) -> str:
    """What differs between the sources of custom kernels here and those of the client."""
    for name, digest in sources.items():
        try:
            kernel = kernels.find(name)
            here = kernel.source_digest() if is_target(kernel) else digest
        except AttnprofError:  # the rows of its cases will say why
            continue
        if here != digest:
            return f"its source of {name} differs"
    return ""


def _measured(task: GroupTask, session: _Session) -> Iterable[WireRecord]:
    """All records of a group, as plain data."""
    cases, records = _cases(task)
    emit = partial(_emit, task)
    for number, record in enumerate(records):
        emit(number, *record)
    follower = Follower(cases, partial(_announce, task), task.is_careful)
    session.workers.follower = follower
    valid = [case for case in cases if case is not None]
    if not valid:
        return records
    numbers = {case: index for index, case in enumerate(cases) if case is not None}
    for record in runner.measure(
        [valid],
        task.settings,
        session.workers,
        earlier=_known(task, cases),
        machine=task.machine,
        shorter=session.samples,
    ):
        records.append(wire_record(numbers[Case(record.kernel, record.workload)], record))
        if not follower.is_timing:
            emit(len(records) - 1, *records[-1])
        if record.quantity in _OF_SAMPLES:
            session.samples.append(record)
    return records


def _cases(task: GroupTask) -> tuple[list[Case | None], list[WireRecord]]:
    """The cases of a group; None for those that are not valid here, and the records of these."""
    cases: list[Case | None] = []
    failed: list[WireRecord] = []
    for index, data in enumerate(task.cases):
        try:
            cases.append(read_case(data))
        except AttnprofError as error:
            cases.append(None)
            failed.append(_failure(index, error))
    return cases, failed


def _failure(index: int, error: Exception) -> WireRecord:
    record = failure_record(_NO_CASE, error)
    return [index, record.quantity, None, record.status, record.detail]


def _known(task: GroupTask, cases: Sequence[Case | None]) -> dict[Case, list[Record]]:
    known: dict[Case, list[Record]] = {}
    for data in task.known:
        index: int = data[0]  # type: ignore[index]
        case = cases[index]
        if case is not None:
            known.setdefault(case, []).append(read_wire_record(data, cases))
    return known


def _announce(task: GroupTask, index: int) -> None:
    """Tell the client which case begins, and wait until the scheduler knows it.

    If the case ends this process at once, that is how the client learns which one it was.
    """
    worker = get_worker()
    text = json.dumps([task.run, task.attempt, STARTED, index])
    sync(worker.loop, worker.scheduler.log_event, topic=TOPIC, msg=text)


def _emit(task: GroupTask, number: int, *record: object) -> None:
    """Send a record; JSON, as numbers of MACs may exceed 64 bits."""
    text = json.dumps([task.run, task.attempt, number, *record], ensure_ascii=False)
    get_worker().log_event(TOPIC, text)
