"""What runs on a Dask worker: it measures one group of cases at a time, in forks of its own.

The process that they are forks of is kept between groups, so that imports are made once.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from distributed import Worker, WorkerPlugin, get_worker
from distributed.utils import sync

from attnprof import kernels
from attnprof.core.cpu import computing_with, usable_cores
from attnprof.core.errors import AttnprofError, describe_error
from attnprof.core.mask_pattern import format_mask
from attnprof.core.records import Record, failure_record
from attnprof.core.typed_json import parse_object, read_as
from attnprof.core.workload import Case, Device
from attnprof.isolation.system_memory import available_bytes
from attnprof.isolation.workers import open_workers
from attnprof.kernels import custom
from attnprof.kernels.custom import is_target
from attnprof.kernels.custom.mask_function import import_masks, source_digest
from attnprof.measure import environment, runner, worker_tasks
from attnprof.measure.on_dask.following import FollowedWorkers, Follower, Stopped
from attnprof.measure.on_dask.messages import (
    FINISHED,
    RECORDS,
    REFUSED,
    STALE,
    STARTED,
    TOPIC,
    Greeting,
    GroupTask,
    Reply,
    WireRecord,
    read_case,
    read_wire_record,
    saved_case,
    to_text,
    wire_record,
)
from attnprof.measure.on_dask.versions import versions

_PLUGIN = "attnprof"
_IDLE_SECONDS = 30.0
"""A session without a task for so long is ended: its client may be gone. A client that is not
greets again."""

_OF_SAMPLES = ("executed_macs", "time_ns", "time_low_ns", "time_high_ns", "withheld")
"""Quantities that predict the times of longer lengths."""


@dataclass(slots=True)
class _Session:
    """What one run keeps in this process between its groups.

    Attributes:
        run: that it belongs to.
        token: identifies it.
        workers: forks of the process that has imported what is needed.
        stack: ends the processes.
        samples: times of this run on this worker, which predict longer ones.
        key: the Dask task that is running; empty without one.
    """

    run: str
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
        self._timer: threading.Timer | None = None
        self.masks: dict[tuple[str, ...], str] = {}

    @contextmanager
    def in_use(self) -> Generator[None]:
        """Exclude other tasks of this process; afterwards, wait for the next one."""
        with self.lock:
            if self._timer is not None:
                self._timer.cancel()
            try:
                yield
            finally:
                self._timer = threading.Timer(_IDLE_SECONDS, self._end_if_idle)
                self._timer.daemon = True
                self._timer.start()

    def _end_if_idle(self) -> None:
        if self.lock.acquire(blocking=False):
            try:
                self.replace(None)
            finally:
                self.lock.release()

    def replace(self, session: _Session | None) -> None:
        """End the session that is open, if any, and keep another one."""
        before, self.open = self.open, session
        if before is not None:
            before.workers.stop()
            before.stack.close()

    def transition(self, key: Any, start: Any, finish: Any, **kwargs: Any) -> None:
        """End the processes of a running task that was cancelled, or whose client is gone."""
        session = self.open
        was_running = start == "executing" and finish == "released"
        if was_running and session is not None and key == session.key:
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
    with _sessions.in_use():
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
    _sessions.replace(_Session(greeting.run, token, workers, stack))
    stack.enter_context(computing_with(threads))
    stack.enter_context(custom.custom_kernels_in(workers, greeting.timeout))

    def run(function: Any, *args: Any) -> Any:
        return workers.run(function, *args, max_seconds=greeting.timeout).result

    devices: dict[str, Device] = {
        name: run(environment.resolve_device, name) for name in greeting.device_names
    }
    server.is_limited = "cuda" not in devices.values()
    return Reply(
        token=token,
        devices=devices,
        environment=run(environment.capture).as_dict(),
        available_bytes=run(available_bytes, next(iter(devices.values()))),
    )


def leave(run: str) -> None:
    """End the processes of a run; called on the thread that a running task may wait for."""
    session = _sessions.open
    if session is not None and session.run == run:
        session.workers.stop()


def measure_group(text: str) -> None:
    """Measure a group of cases. Its records are events, as is all that becomes of it.

    Args:
        text: a `GroupTask`.
    """
    task = read_as(GroupTask, parse_object(text))
    with _sessions.in_use():
        session = _sessions.open
        if session is None or session.token != task.token:
            _emit(task, STALE)
            return
        refusal = _other_source(task)
        if refusal:
            _emit(task, REFUSED, refusal)
            return
        try:
            with _current_task(session):
                _emit(task, FINISHED, _measure(task, session))
        except Stopped:
            _sessions.replace(None)
            _emit(task, STALE)


@contextmanager
def _current_task(session: _Session) -> Generator[None]:
    session.key = str(get_worker().get_current_task())
    try:
        yield
    finally:
        session.key = ""
        session.workers.follower = None


def _other_source(task: GroupTask) -> str:
    """What differs between the user's sources here and those of the client; empty if nothing.

    Mask functions are imported into this process, where they stay as they were.
    """
    for name, digest in task.sources.items():
        with suppress(AttnprofError):  # the rows of its cases will say why
            kernel = kernels.find(name)
            if is_target(kernel) and kernel.source_digest() != digest:
                return f"its source of {name} differs"
    if not task.masks:
        return ""
    with suppress(AttnprofError):
        cases = [read_case(data) for data in task.cases]
        import_masks(cases)
        here, names = (
            source_digest(cases),
            tuple(sorted({format_mask(case.workload.pattern) for case in cases})),
        )
        if here != task.masks:
            return "its source of the masks differs"
        if _sessions.masks.setdefault(names, here) != here:
            return "the source of the masks has changed since it imported them; restart it"
    return ""


def _measure(task: GroupTask, session: _Session) -> int:
    """Measure a group and send its records; how many they are.

    The records of the timed rounds are sent together, so that cases keep their pairs.
    """
    cases: list[Case] = []
    invalid: list[WireRecord] = []
    for index, data in enumerate(task.cases):
        try:
            cases.append(read_case(data))
        except AttnprofError as error:
            cases.append(saved_case(data))
            invalid.append(wire_record(index, failure_record(cases[-1], error)))
    if invalid:
        _emit(task, RECORDS, [0, invalid])
    closed = {index for index, *_ in invalid}
    valid = [case for index, case in enumerate(cases) if index not in closed]
    return len(invalid) + (
        _measure_valid(task, session, cases, valid, len(invalid)) if valid else 0
    )


def _measure_valid(
    task: GroupTask,
    session: _Session,
    cases: Sequence[Case],
    valid: Sequence[Case],
    sent: int,
) -> int:
    """Measure the valid cases of a group; how many records were sent, without those before."""
    follower = Follower(cases, partial(_announce, task), task.is_careful)
    session.workers.follower = follower
    numbers = {case: index for index, case in enumerate(cases)}
    count, waiting = 0, list[WireRecord]()
    for record in runner.measure(
        [valid],
        task.settings,
        session.workers,
        earlier=_known(task, cases),
        machine=task.machine,
        shorter=session.samples,
    ):
        waiting.append(wire_record(numbers[Case(record.kernel, record.workload)], record))
        if record.quantity in _OF_SAMPLES:
            session.samples.append(record)
        if not follower.is_timing:
            _emit(task, RECORDS, [sent + count, waiting])
            count, waiting = count + len(waiting), []
    if waiting:
        _emit(task, RECORDS, [sent + count, waiting])
    return count + len(waiting)


def _known(task: GroupTask, cases: Sequence[Case]) -> dict[Case, list[Record]]:
    known: dict[Case, list[Record]] = {}
    for data in task.known:
        record = read_wire_record(data, cases)
        known.setdefault(Case(record.kernel, record.workload), []).append(record)
    return known


def _announce(task: GroupTask, index: int, is_timing: bool) -> None:
    """Tell the client which case begins, and wait until the scheduler knows it.

    If the case ends this process at once, that is how the client learns which one it was.
    """
    worker = get_worker()
    text = json.dumps([task.run, task.attempt, STARTED, [index, is_timing]])
    sync(worker.loop, worker.scheduler.log_event, topic=TOPIC, msg=text)


def _emit(task: GroupTask, kind: str, content: object = None) -> None:
    """Send an event, as JSON: numbers of MACs may exceed 64 bits."""
    text = json.dumps([task.run, task.attempt, kind, content], ensure_ascii=False)
    get_worker().log_event(TOPIC, text)
