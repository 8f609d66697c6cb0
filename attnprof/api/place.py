"""Where a comparison is measured: this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from attnprof import kernels
from attnprof.api.compare_options import CheckedOptions
from attnprof.core.errors import UsageError
from attnprof.core.records import Record
from attnprof.core.result_table import ResultTable
from attnprof.core.workload import Case, Device
from attnprof.isolation.fork_server import ForkServer
from attnprof.isolation.system_memory import available_bytes
from attnprof.isolation.workers import Workers
from attnprof.kernels.custom import is_target
from attnprof.measure import Observer, environment, runner
from attnprof.measure.runner import ResumedRecords
from attnprof.measure.single_case import MeasureSettings

if TYPE_CHECKING:
    from attnprof.measure.on_dask.cluster import Cluster

_FACTS = ("processor", "cores", "threads", "gpu", "python", "packages")
"""What must be the same for records of an earlier run to be reused."""

_FACTS_OF_ANY_MACHINE = ("python", "packages")
"""The same for a run on a cluster, whose rows name their machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is known of the measuring machine before anything is measured.

    Attributes:
        devices: that names of devices stand for.
        environment: of the machine, by name.
        available_bytes: that a call could allocate.
        facts: what must be the same for records of an earlier run to be reused.
        host: digest of the host's name; empty where several may measure.
    """

    devices: Mapping[str, Device]
    environment: Mapping[str, object]
    available_bytes: int
    facts: Mapping[str, object]
    host: str


class Place(Protocol):
    """Measures groups of cases."""

    def surroundings(self, checked: CheckedOptions, observe: Observer) -> Surroundings:
        """The measuring machine.

        Raises:
            UsageError: for a device that it does not have.
        """
        ...

    def records(
        self,
        groups: Sequence[Sequence[Case]],
        measurements: MeasureSettings,
        table: ResultTable,
        earlier: ResumedRecords,
        observe: Observer,
        warn: Callable[[str], None],
    ) -> Iterator[Record]:
        """Measure; see `runner.measure`."""
        ...


@dataclass(frozen=True, slots=True)
class ThisMachine:
    """Measures in worker processes of this machine."""

    workers: Workers

    def surroundings(self, checked: CheckedOptions, observe: Observer) -> Surroundings:
        """This machine.

        Raises:
            UsageError: for a device that it does not have.
        """
        timeout = checked.measurements.timeout

        def run(function: Callable[..., Any], *args: Any) -> Any:
            return self.workers.run(function, *args, max_seconds=timeout).result

        devices: dict[str, Device] = {
            name: run(environment.resolve_device, name) for name in checked.selection.device_names
        }
        here: environment.Environment = run(environment.capture)
        if isinstance(self.workers, ForkServer):
            self.workers.is_limited = "cuda" not in devices.values()
        return Surroundings(
            devices=devices,
            environment=here.as_dict(),
            available_bytes=run(available_bytes, next(iter(devices.values()))),
            facts={name: here.as_dict()[name] for name in _FACTS},
            host=here.host or "",
        )

    def records(
        self,
        groups: Sequence[Sequence[Case]],
        measurements: MeasureSettings,
        table: ResultTable,
        earlier: ResumedRecords,
        observe: Observer,
        warn: Callable[[str], None],
    ) -> Iterator[Record]:
        """Measure; see `runner.measure`."""
        return runner.measure(groups, measurements, self.workers, observe, earlier, table.machine)


@dataclass(frozen=True, slots=True)
class DaskCluster:
    """Measures on the workers of a Dask cluster."""

    cluster: Cluster

    def surroundings(self, checked: CheckedOptions, observe: Observer) -> Surroundings:
        """The workers that are there; waits until one is.

        Raises:
            UsageError: when none can be used.
        """
        self.cluster.wait_for_workers(observe, checked.measurements.timeout)
        replies = [worker.reply for worker in self.cluster.workers.values()]
        first = replies[0]
        is_here = bool(self.cluster.target.local_workers)
        facts = _FACTS if is_here else _FACTS_OF_ANY_MACHINE
        return Surroundings(
            devices=first.devices,
            environment=first.environment,
            available_bytes=min(reply.available_bytes for reply in replies),
            facts={name: first.environment[name] for name in facts},
            host=str(first.environment.get("host", "")) if is_here else "",
        )

    def records(
        self,
        groups: Sequence[Sequence[Case]],
        measurements: MeasureSettings,
        table: ResultTable,
        earlier: ResumedRecords,
        observe: Observer,
        warn: Callable[[str], None],
    ) -> Iterator[Record]:
        """Measure; records of different groups come in any order."""
        from attnprof.measure.on_dask.client_side import RunSettings, measure_on_dask

        self.cluster.warn_with(warn)
        settings = RunSettings(
            measurements=measurements,
            machine=table.machine,
            sources=dict(_sources(case.kernel for group in groups for case in group)),
        )
        table.machines = self.cluster.machines
        return measure_on_dask(groups, settings, self.cluster, observe, earlier)


def _sources(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Digests of the source files of custom kernels, by kernel."""
    for name in dict.fromkeys(names):
        kernel = kernels.find(name)
        if is_target(kernel):
            yield name, kernel.source_digest()


def open_place(workers: Workers, checked: CheckedOptions, stack: ExitStack) -> Place:
    """This machine, or the Dask cluster that the options name.

    Args:
        workers: processes of this machine.
        checked: the options.
        stack: ends what is started.

    Raises:
        UsageError: when there is no scheduler at the address, or too few GPUs.
    """
    if checked.dask is None:
        return ThisMachine(workers)
    from attnprof.measure.on_dask.cluster import new_run
    from attnprof.measure.on_dask.connection import open_cluster
    from attnprof.measure.on_dask.messages import Greeting
    from attnprof.measure.on_dask.versions import versions

    greeting = Greeting(
        run=new_run(),
        versions=versions(),
        allows_other_versions=bool(checked.options.get("allow_other_versions")),
        kernels=tuple(checked.kernel_names),
        device_names=tuple(checked.selection.device_names),
        threads=int(checked.options.get("threads") or 0),
        timeout=checked.measurements.timeout,
    )
    gpus = _visible_gpus(workers, checked) if checked.dask.local_workers else ()
    return DaskCluster(stack.enter_context(open_cluster(checked.dask, greeting, gpus)))


def _visible_gpus(workers: Workers, checked: CheckedOptions) -> tuple[str, ...]:
    """The GPUs of this machine, one for each local worker, as `CUDA_VISIBLE_DEVICES` names them.

    Empty where cases run on the CPU.

    Raises:
        UsageError: when there are fewer than workers.
    """
    names = checked.selection.device_names
    if set(names) == {"cpu"}:
        return ()
    outcome = workers.run(environment.count_gpus, max_seconds=checked.measurements.timeout)
    count: int = outcome.result
    if not count:
        return ()
    assert checked.dask is not None
    if checked.dask.local_workers > count:
        expected = f"each worker needs a GPU, and there are {count}; or add --device cpu"
        raise UsageError("dask", checked.dask.text, expected)
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return tuple(chosen.split(",")[:count]) if chosen else tuple(map(str, range(count)))
