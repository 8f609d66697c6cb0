"""`compare`: options in, measured results out; results are saved even if it is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Unpack

from attnprof import kernels
from attnprof.api.compare_options import CheckedOptions, CompareOptions, check_options
from attnprof.api.finishing import finish, python_call
from attnprof.api.place import Place, open_place
from attnprof.api.result_table import ResultTable
from attnprof.api.study_records import study_part, with_settings
from attnprof.core.cpu import computing_with
from attnprof.core.errors import FailedError, MeasurementError, UsageError
from attnprof.core.records import CASE, INTERRUPTED, Record
from attnprof.core.workload import Case
from attnprof.counting import counters
from attnprof.isolation.fork_server import ForkServer
from attnprof.isolation.workers import InProcessWorkers, Workers, open_workers
from attnprof.kernels import custom
from attnprof.kernels.custom import is_target
from attnprof.kernels.custom.mask_function import source_digest
from attnprof.measure import Observer, worker_tasks
from attnprof.measure.request import Request
from attnprof.measure.runner import ResumedRecords
from attnprof.measure.single_case import MeasureSettings
from attnprof.options.selection import read_groups
from attnprof.report.formats import table_renderers
from attnprof.report.journal import Journal
from attnprof.report.journal_format import RunFingerprint
from attnprof.report.outputs import Outputs
from attnprof.report.resumed_parts import check_resumed_part


@dataclass(slots=True)
class CompareRequest(Request):
    """A comparison, checked and ready to run.

    Attributes:
        groups: what to cost; the cases of a group are timed in the same rounds.
        settings: of cases of a study, see `Groups`.
        outputs: where results go.
        measurements: what to measure.
        place: where it is measured.
        journal: keeps records as they come; None if no results file is written.
        earlier: records of an earlier run, by case.
        table: the results so far; kept if `run` is interrupted. Its `machine` is the stored
            machine that times are predicted for.
        failures: messages about files that could not be written, each once.
    """

    groups: Sequence[Sequence[Case]]
    settings: Mapping[Case, str]
    outputs: Outputs[ResultTable]
    measurements: MeasureSettings
    place: Place
    journal: Journal | None
    earlier: ResumedRecords
    table: ResultTable
    failures: dict[str, None] = field(default_factory=dict[str, None])

    def run(
        self,
        observe: Observer = lambda activity, done: None,
        warn: Callable[[str], None] = lambda message: None,
    ) -> ResultTable:
        """Measure; results are saved as they come, and also if the run is interrupted.

        Args:
            observe: called with the current activity and the fraction of all work done.
            warn: called with a message when a file cannot be written, which is retried later, and
                when a Dask worker is not used; measuring continues.

        Raises:
            MeasurementError: when a file still cannot be written at the end; all others are. Also
                when the Dask cluster is gone.
        """
        if self.journal and self.journal.damage:
            warn(self.journal.damage_message)
        if not self.groups and self.table.study:
            study = self.table.study
            warn(f"shard {study.parts[0]}/{study.count} has no cases: they are in other shards")
        self.table.expect((case.kernel, case.workload) for group in self.groups for case in group)
        records = self.place.records(
            self.groups, self.measurements, self.table, self.earlier, observe, warn
        )
        try:
            for record in with_settings(records, self.settings):
                self.table.add(record)
                self._keep(record, warn)
            observe("writing the results", 1.0)
            if self.journal:
                self.journal.finish()
            finish(self.table)
        except (KeyboardInterrupt, MeasurementError):
            self.table.close("error", INTERRUPTED)
            raise
        finally:
            self._save()
        return self.table

    @property
    def has_results(self) -> bool:
        """Whether there is something to save: rows, or that a shard has none."""
        return bool(self.table.rows) or not self.groups

    def _keep(self, record: Record, warn: Callable[[str], None]) -> None:
        with self._warned(warn):
            if self.journal:
                self.journal.add(record)
        with self._warned(warn):
            if record.quantity == CASE:
                self.outputs.save_files(self.table)

    def _save(self) -> None:
        """Write the journal and all outputs; a failure of one does not prevent the others.

        Raises:
            MeasurementError: naming every file that cannot be written.
        """
        failures: list[str] = []
        for save in (
            self.journal.flush if self.journal else lambda: None,
            lambda: self.outputs.save(self.table) if self.has_results else None,
        ):
            try:
                save()
            except MeasurementError as error:
                failures.append(str(error))
        if failures:
            raise MeasurementError("; ".join(failures))

    @contextmanager
    def _warned(self, warn: Callable[[str], None]) -> Generator[None]:
        """Warn once about a file that cannot be written."""
        try:
            yield
        except MeasurementError as error:
            if str(error) not in self.failures:
                self.failures[str(error)] = None
                warn(f"{error}; continuing, will retry")


def prepare_compare(
    options: CompareOptions,
    command: str = "",
    observe: Observer = lambda activity, done: None,
) -> CompareRequest:
    """Check the options of a comparison, cheap checks first, and start its processes.

    Args:
        options: as on the command line or in Python.
        command: the command line or the Python call, which its table keeps.
        observe: called with the current activity; nothing of the measuring is done yet.

    Raises:
        UsageError: for the first option that cannot be used.
        MeasurementError: when the processes cannot be started.
    """
    checked = check_options(options)
    observe("importing torch", 0.0)
    with ExitStack() as stack:
        stack.enter_context(computing_with(checked.threads))
        workers = stack.enter_context(_workers(checked))
        if isinstance(workers, ForkServer):
            timeout = checked.measurements.timeout
            stack.enter_context(custom.custom_kernels_in(workers, timeout))
        place = open_place(workers, checked, stack)
        request = _prepare_with(workers, place, checked, stack, observe)
        request.table.command = command
        return request


def _prepare_with(
    workers: Workers,
    place: Place,
    checked: CheckedOptions,
    stack: ExitStack,
    observe: Observer,
) -> CompareRequest:
    """Check the options that need a worker process, and open the journal.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    options, measurements = checked.options, checked.measurements

    def run(function: Callable[..., Any], *args: Any) -> Any:
        return workers.run(function, *args, max_seconds=measurements.timeout).result

    found = place.surroundings(checked, observe)
    reference_digest = _digest_of_reference(measurements.check_against, run)
    observe("checking the kernels", 0.0)
    every = read_groups(checked.selection, found.devices)
    groups = every.here
    cases = [case for group in every.every for case in group]
    fingerprint = _fingerprint(
        found.facts, checked.kernel_names, reference_digest, source_digest(cases)
    )
    study = study_part(
        every, measurements, fingerprint.sources, is_study=options.get("sweep") is not None
    )
    key = replace(fingerprint, host=found.host, study=study)
    journal, earlier = _open_journal(checked, key, groups, stack)
    table = ResultTable()
    table.machine = checked.machine
    table.study = study
    table.available_bytes = found.available_bytes
    table.environment = found.environment
    outputs = Outputs[ResultTable].read(options, table_renderers(options))
    return CompareRequest(
        groups,
        every.settings,
        outputs,
        measurements,
        place,
        journal,
        earlier,
        table,
        stack=stack.pop_all(),
    )


def _open_journal(
    checked: CheckedOptions, key: RunFingerprint, groups: Sequence[Sequence[Case]], stack: ExitStack
) -> tuple[Journal | None, ResumedRecords]:
    """The journal of a run, if it has one, and the records of an earlier run.

    Raises:
        UsageError: where it belongs to something else, also to another part of a study.
    """
    path, is_resumed = checked.journal_path, bool(checked.options.get("resume"))
    if path is None:
        return None, {}
    if is_resumed:
        cases = (case for group in groups for case in group)
        check_resumed_part(checked.options.get("json") or "", path, key.study, cases)
    journal = Journal(path, key, is_resumed=is_resumed)
    stack.callback(journal.close)
    return journal, journal.resumable(groups, _wanted(checked.measurements))


@contextmanager
def _workers(checked: CheckedOptions) -> Generator[Workers]:
    """Forks of a process that has imported what is needed; or this process, without isolation.

    Kernels that are objects of this process cannot be isolated.

    Raises:
        MeasurementError: when the system cannot fork such processes.
    """
    names, threads = checked.kernel_names, checked.threads
    if checked.options.get("no_isolation") or any(custom.is_given(name) for name in names):
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


def _digest_of_reference(name: str | None, run: Callable[..., Any]) -> str:
    """Identifies the reference of custom kernels and its source; empty without a reference.

    Raises:
        UsageError: when it cannot be imported.
    """
    if name is None:
        return ""
    from attnprof.kernels.custom.check_against import reference_digest

    try:
        return f" {name} {run(reference_digest, name)}"
    except FailedError as error:
        raise UsageError("check_against", name, f"{error} while importing it") from error


def _fingerprint(
    facts: Mapping[str, object], names: Iterable[str], reference_digest: str, mask_digest: str
) -> RunFingerprint:
    """What must be unchanged for an earlier measurement to remain valid.

    Args:
        facts: of the measuring machine.
        names: of all kernels.
        reference_digest: identifies the reference of custom kernels; empty without one.
        mask_digest: identifies the mask functions of users; empty without any.
    """
    digests: dict[str, str] = {}
    for name in names:
        kernel = kernels.find(name)
        if is_target(kernel):
            digests[name] = kernel.source_digest() + reference_digest
        elif mask_digest:
            digests[name] = mask_digest
    return RunFingerprint(facts, digests)


def _wanted(measurements: MeasureSettings) -> list[str]:
    """Quantities that a case needs to be finished."""
    wanted: list[str] = []
    if measurements.count:
        wanted += [counters.quantity(name) for name in counters.names()]
    if measurements.memory:
        wanted.append("peak_bytes")
    if measurements.time:
        wanted.append("time_ns")
    return wanted


def compare(**options: Unpack[CompareOptions]) -> ResultTable:
    """Estimate, count, time and measure the memory of real kernels.

    Takes the options of `attnprof compare` as keyword arguments, with values as for `estimate`:
    `compare(len=[512, 1024], kernel=["bert-sdpa", "longformer-hf"], no_time=True)`. Kernels run in
    worker processes, which import what they need. If `kernel` contains a module or function that
    cannot be imported by name, all kernels run in this process, and its rows say so. With
    `sweep="study.toml"` a file selects the cases, and the table has a part for each setting.

    Raises:
        UsageError: for the first option that cannot be used, before any work.
        MeasurementError: when a file cannot be written.
    """
    with prepare_compare(options, python_call("compare", options)) as request:
        return request.run()
