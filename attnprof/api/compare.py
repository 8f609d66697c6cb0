"""`compare`: options in, measured results out, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

from attnprof import kernels
from attnprof.api.estimate import EstimateOptions
from attnprof.core.cpu import computing_with, cpu_threads
from attnprof.core.errors import FailedError, MeasurementError, UsageError
from attnprof.core.files import is_special
from attnprof.core.machine import read_machine
from attnprof.core.records import CASE, Record
from attnprof.core.result_table import ResultTable
from attnprof.core.verdict import TARGET_RELATIVE_WIDTH
from attnprof.core.workload import Case, Device
from attnprof.counting import counters
from attnprof.isolation.fork_server import ForkServer
from attnprof.isolation.system_memory import available_bytes
from attnprof.isolation.workers import InProcessWorkers, Workers, open_workers
from attnprof.kernels import custom
from attnprof.kernels.custom import is_target
from attnprof.measure import Observer, environment, runner, worker_tasks
from attnprof.measure.request import DEFAULT_TIMEOUT_SECONDS
from attnprof.measure.runner import Measurements, ResumedRecords
from attnprof.options import (
    read_cases,
    read_device_name,
    read_kernel_names,
    read_seconds,
    read_threads,
    reject_unknown_options,
)
from attnprof.report.formats import renderers
from attnprof.report.journal import Journal, RunFingerprint, journal_path
from attnprof.report.outputs import STDOUT, Outputs

DEFAULT_MAX_SECONDS = 15.0

_KEY_FACTS = ("processor", "cores", "threads", "gpu", "python", "packages")


class CompareOptions(EstimateOptions, total=False):
    """Options of `attnprof compare`."""

    no_count: bool
    no_time: bool
    no_memory: bool
    max_seconds: float | None
    precision: float | None
    threads: int | None
    resume: bool
    allow_slow: bool
    check_against: str | None


@dataclass(slots=True)
class CompareRequest:
    """A comparison, checked and ready to run.

    It is a context: processes that it has started end with it.

    Attributes:
        cases: what to cost.
        outputs: where results go.
        measurements: what to measure.
        environment: of the measuring machine.
        workers: make the processes that measure.
        journal: keeps records as they come; None where no file of results is written.
        earlier: what has been measured before.
        table: the results so far; it keeps them when `run` is interrupted.
        stack: what ends with it.
        failures: what could not be written, in words.
    """

    cases: tuple[Case, ...]
    outputs: Outputs[ResultTable]
    measurements: Measurements
    environment: environment.Environment
    workers: Workers
    journal: Journal | None
    earlier: ResumedRecords
    table: ResultTable
    stack: ExitStack
    failures: dict[str, None] = field(default_factory=dict[str, None])

    def __enter__(self) -> CompareRequest:
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    @property
    def machine(self) -> str:
        """The measuring machine in a line."""
        return self.environment.describe(self.cases[0].workload.device)

    def run(
        self,
        observe: Observer = lambda activity, done: None,
        warn: Callable[[str], None] = lambda message: None,
    ) -> ResultTable:
        """Measure; results are saved as they come, and whatever ends it.

        Args:
            observe: told what is being done, and which part of all work is done.
            warn: told of a file that cannot be written: measuring goes on, and writing it is
                tried again.

        Raises:
            MeasurementError: when a file cannot be written at the end either, after all others.
        """
        if self.journal and self.journal.damage:
            warn(self.journal.damage_message)
        taken = runner.measure(
            self.cases,
            self.measurements,
            self.workers,
            observe,
            self.earlier,
            self.table.machine,
        )
        try:
            for record in taken:
                self.table.add(record)
                self._keep(record, warn)
            if self.journal:
                self.journal.finish()
        except KeyboardInterrupt:
            self.table.close("error", "interrupted before it was finished")
            raise
        finally:
            self._save()
        return self.table

    def _keep(self, record: Record, warn: Callable[[str], None]) -> None:
        with self._warned(warn):
            if self.journal:
                self.journal.add(record)
        with self._warned(warn):
            if record.quantity == CASE:
                self.outputs.save_files(self.table)

    def _save(self) -> None:
        """All that is to be on the disk at the end; what can be written is, whatever cannot.

        Raises:
            MeasurementError: for what cannot.
        """
        failures: list[str] = []
        for save in (
            self.journal.flush if self.journal else lambda: None,
            lambda: self.outputs.save(self.table) if self.table.rows else None,
        ):
            try:
                save()
            except MeasurementError as error:
                failures.append(str(error))
        if failures:
            raise MeasurementError("; ".join(failures))

    @contextmanager
    def _warned(self, warn: Callable[[str], None]) -> Generator[None]:
        """A file that cannot be written is told of once."""
        try:
            yield
        except MeasurementError as error:
            if str(error) not in self.failures:
                self.failures[str(error)] = None
                warn(f"{error}; going on, it is tried again")


def prepare_compare(options: CompareOptions) -> CompareRequest:
    """Check the options of a comparison, the cheap ones before a process is started.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    reject_unknown_options(options, CompareOptions)
    measurements = Measurements(
        count=not options.get("no_count"),
        time=not options.get("no_time"),
        memory=not options.get("no_memory"),
        max_seconds=read_seconds("max_seconds", options.get("max_seconds"), DEFAULT_MAX_SECONDS),
        precision=_precision(options.get("precision")),
        timeout=read_seconds("timeout", options.get("timeout"), DEFAULT_TIMEOUT_SECONDS),
        allow_slow=bool(options.get("allow_slow")),
        check_against=options.get("check_against"),
    )
    device_name = read_device_name(options)
    stored = options.get("machine")
    machine = None if stored is None else read_machine(stored)
    threads = read_threads(options) or cpu_threads()
    names = read_kernel_names(options)
    if measurements.check_against and not any(kernels.is_custom(name) for name in names):
        raise UsageError(
            "check_against",
            measurements.check_against,
            "only what is your own is compared with it, as --kernel pkg.mod:Net; built-in kernels "
            "are compared with their pattern's definition",
        )
    Outputs.read(options, {})
    path = _journal_path(options)
    if not any(kernels.is_custom(name) for name in names):
        read_cases(options, "cpu")
    with ExitStack() as stack:
        stack.enter_context(computing_with(threads))
        workers = stack.enter_context(_workers(options, names, threads))
        if isinstance(workers, ForkServer):
            stack.enter_context(custom.custom_kernels_in(workers, measurements.timeout))

        def ask(function: Callable[..., Any], *args: Any) -> Any:
            return workers.run(function, *args, max_seconds=measurements.timeout).result

        device: Device = ask(environment.resolve_device, device_name)
        here: environment.Environment = ask(environment.capture)
        if isinstance(workers, ForkServer):
            workers.is_limited = device == "cpu"
        against = _digest_of_reference(measurements.check_against, ask)
        cases = read_cases(options, device)
        journal, earlier = None, {}
        if path:
            journal = Journal(
                path, _key(here, names, against), is_resumed=bool(options.get("resume"))
            )
            stack.callback(journal.close)
            earlier = journal.resumable(cases, _wanted(measurements))
        table = ResultTable()
        table.machine = machine
        table.available_bytes = ask(available_bytes, device)
        outputs = Outputs.read(options, renderers(here.as_dict()))
        return CompareRequest(
            cases, outputs, measurements, here, workers, journal, earlier, table, stack.pop_all()
        )


@contextmanager
def _workers(options: CompareOptions, names: Sequence[str], threads: int) -> Generator[Workers]:
    """Forks of a process that has imported what is needed, or this one where that is asked for.

    Raises:
        MeasurementError: where there can be no forks.
    """
    if options.get("no_isolation") or any(custom.is_given(name) for name in names):
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            yield InProcessWorkers()
        finally:
            torch.set_num_threads(before)
        return
    with open_workers(worker_tasks.modules(names), {"OMP_NUM_THREADS": str(threads)}) as server:
        yield server


def _precision(value: object) -> float:
    try:
        precision = TARGET_RELATIVE_WIDTH if value is None else float(str(value))
    except ValueError:
        precision = 0.0
    if not 0 < precision < 1:
        raise UsageError("precision", value, "a part of 1, as 0.05 for 5 %")
    return precision


def _journal_path(options: CompareOptions) -> Path | None:
    path = options.get("json")
    if path and path != STDOUT and not is_special(Path(path)):
        return journal_path(path)
    if options.get("resume"):
        raise UsageError("resume", path or "without --json", "goes with the file, as --json a.json")
    return None


def _digest_of_reference(name: str | None, ask: Callable[..., Any]) -> str:
    """What tells a reference of the user's own from others; empty without one.

    Raises:
        UsageError: when there is none of that name.
    """
    if name is None:
        return ""
    from attnprof.kernels.custom.check_against import reference_digest

    try:
        return f" {name} {ask(reference_digest, name)}"
    except FailedError as error:
        raise UsageError("check_against", name, f"{error} when it was imported") from error


def _key(here: environment.Environment, names: Iterable[str], against: str) -> RunFingerprint:
    """What must be as it was for a measurement to stand.

    Args:
        here: the machine.
        names: of all kernels.
        against: what tells the reference that the user's own is compared with.
    """
    facts = here.as_dict()
    machine = {name: facts[name] for name in _KEY_FACTS}
    own = {name: kernels.find(name) for name in names if kernels.is_custom(name)}
    return RunFingerprint(
        machine,
        {
            name: kernel.source_digest() + against
            for name, kernel in own.items()
            if is_target(kernel)
        },
    )


def _wanted(measurements: Measurements) -> list[str]:
    counts = [counters.quantity(name) for name in counters.names()]
    return (
        counts * measurements.count
        + ["peak_bytes"] * measurements.memory
        + ["time_ns"] * measurements.time
    )


def compare(**options: Unpack[CompareOptions]) -> ResultTable:
    """Estimate, count, time and measure the memory of real kernels.

    Takes the options of `attnprof compare` as keyword arguments, with values as for `estimate`:
    `compare(len=[512, 1024], kernel=["bert-sdpa", "longformer-hf"], no_time=True)`. Kernels run in
    processes of their own, which import what they need. Where `kernel` has a module or a function
    that these cannot import, all of them run in this process, and its rows say so.

    Raises:
        UsageError: for the first option that cannot be used, before any work.
        MeasurementError: when a file cannot be written.
    """
    with prepare_compare(options) as request:
        return request.run()
