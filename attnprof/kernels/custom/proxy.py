"""Custom kernels whose methods run in worker processes: a crash there harms nothing here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from attnprof.core.errors import FailedError
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.isolation.outcome import Outcome
from attnprof.isolation.server_process import installed_modules
from attnprof.isolation.workers import Worker, Workers
from attnprof.kernels.custom.failed_import import FailedTarget
from attnprof.kernels.custom.reference import parse_reference
from attnprof.kernels.custom.target import Work
from attnprof.kernels.custom.traits import CustomKernelTraits

_T = TypeVar("_T")


class TargetProxies:
    """Custom kernels in worker processes, one process for each.

    Args:
        workers: make the processes.
        max_seconds: time limit of one reply.
        shares_imports: whether packages that one worker imports are imported for later ones too.

    Attributes:
        max_seconds: as passed; later requests may have a lower limit.
    """

    def __init__(
        self, workers: Workers, max_seconds: float, *, shares_imports: bool = True
    ) -> None:
        self.workers = workers
        self.max_seconds = max_seconds
        self.shares_imports = shares_imports
        self._targets: dict[str, TargetProxy | FailedTarget] = {}

    def find(self, name: str) -> TargetProxy | FailedTarget:
        """The custom kernel that a reference names.

        Raises:
            UsageError: when there is no such object or config, or it cannot be used.
        """
        if name not in self._targets:
            try:
                self._targets[name] = TargetProxy(name, self)
            except FailedError as error:
                self._targets[name] = FailedTarget(name, error)
        return self._targets[name]

    def close(self) -> None:
        """End the processes."""
        for target in self._targets.values():
            if isinstance(target, TargetProxy):
                target.close()


class TargetProxy(CustomKernelTraits):
    """A custom kernel whose methods run in a worker process.

    What they return or raise is cached. After the process died, the next request starts another.

    Args:
        name: its reference.
        proxies: make the process and hold its time limit.

    Raises:
        UsageError: when there is no such object or config, or it cannot be used.
        FailedError: when importing it ends its process.
    """

    def __init__(self, name: str, proxies: TargetProxies) -> None:
        parse_reference(name)
        self.name: str = name
        self.summary: str = name
        self._proxies = proxies
        self._worker: Worker | None = None
        self._outcomes: dict[tuple[str, Workload | None], Outcome] = {}
        self._request("name", None)

    def build(self, workload: Workload) -> Call:
        """Not possible: a call does not cross processes.

        Raises:
            TypeError: always.
        """
        raise TypeError("a custom kernel in a worker process cannot be built in this one")

    def adapt_workload(self, workload: Workload) -> Workload:
        """The workload that it runs."""
        return self._request("adapt_workload", workload)

    def check(self, workload: Workload) -> None:
        """Build it once on fake tensors; failures at this length only are reported in its row.

        Raises:
            UsageError: when it cannot be used at any length.
        """
        try:
            self._request("check", workload)
        except FailedError:
            return
        self._share_imports()

    def unsupported_reason(self, workload: Workload) -> str | None:
        """Why it cannot run the workload, None if it can."""
        return self._request("unsupported_reason", workload)

    def notes(self, workload: Workload) -> tuple[str, ...]:
        """What to know about its costs: what was assumed, left out, or has no effect."""
        return self._request("notes", workload)

    def parameters(self, workload: Workload) -> int:
        """Number of parameters of the module."""
        return self._request("parameters", workload)

    def static_bytes(self, workload: Workload) -> int:
        """Bytes of parameters, buffers and inputs."""
        return self._request("static_bytes", workload)

    def min_bytes(self, workload: Workload) -> int:
        """Bytes of parameters, buffers, inputs and output, each once; in training of gradients too.

        Raises:
            MeasurementError: when it returns no tensor.
        """
        return self._request("min_bytes", workload)

    def executed_macs(self, workload: Workload) -> int:
        """MACs of all operators of one call."""
        return self._request("executed_macs", workload)

    def useful_macs(self, workload: Workload) -> int:
        """MACs of one call without those of attention that its masks hide."""
        return self._request("useful_macs", workload)

    def hidden_macs(self, workload: Workload) -> dict[str, int]:
        """MACs of pairs that masks hide in one forward pass, by the path of the module."""
        return self._request("hidden_macs", workload)

    def macs_by_operator(self, workload: Workload) -> dict[str, int]:
        """MACs of one call by operator."""
        return self._request("macs_by_operator", workload)

    def work_of_counting(self, workload: Workload) -> Work:
        """What counting its MACs takes."""
        return self._request("work_of_counting", workload)

    def peak_bytes(self, workload: Workload) -> int:
        """The most bytes that a call allocates at one time."""
        return self._request("peak_bytes", workload)

    def cache_bytes(self, workload: Workload) -> int:
        """Bytes that its cache has allocated after a call that decodes."""
        return self._request("cache_bytes", workload)

    def source_digest(self) -> str:
        """SHA-256 of the file that defines it; empty where there is none."""
        return self._request("source_digest", None)

    def run(self, function: Callable[..., _T], *args: Any) -> _T:
        """What a module's function returns in the worker process; not cached.

        Raises:
            AttnprofError: what the function raises, or a `FailedError`.
        """
        return self._outcome(function, *args).result

    def close(self) -> None:
        """End its process."""
        if self._worker is not None:
            self._worker.close()
        self._worker = None

    def _share_imports(self) -> None:
        """Have later workers import in advance the installed packages that this one imported."""
        if not self._proxies.shares_imports or self._worker is None:
            return
        limit, workers = self._proxies.max_seconds, self._proxies.workers
        preloaded = workers.run(installed_modules, max_seconds=limit).value or []
        imported = self._worker.call(installed_modules, max_seconds=limit).value or []
        workers.preload([name for name in imported if name not in set(preloaded)])

    def _request(self, attribute: str, workload: Workload | None) -> Any:
        """The cached reply for an attribute, or for a method called with a workload."""
        key = (attribute, workload)
        if key not in self._outcomes:
            arguments: Sequence[Workload] = () if workload is None else (workload,)
            self._outcomes[key] = self._outcome(_answer_request, self.name, attribute, *arguments)
        return self._outcomes[key].result

    def _outcome(self, function: Callable[..., Any], *args: Any) -> Outcome:
        """How a function ended in the worker process, which is started first where needed."""
        if self._worker is None:
            self._worker = self._proxies.workers.worker()
        outcome = self._worker.call(function, *args, max_seconds=self._proxies.max_seconds)
        if outcome.worker_died:
            self.close()
        return outcome


def _answer_request(name: str, attribute: str, *arguments: Workload) -> Any:
    """In the worker: an attribute of a custom kernel, or what its method returns."""
    from attnprof.kernels import custom

    target = custom.find(name)
    if isinstance(target, FailedTarget):
        raise target.failure
    value = getattr(target, attribute)
    return value(*arguments) if callable(value) else value
