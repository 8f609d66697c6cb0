"""What is the user's own, asked in a process of its own: whatever it does there, this one lives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from attnprof.core.errors import FailedError
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.isolation.outcome import Outcome
from attnprof.isolation.server_process import installed_modules
from attnprof.isolation.workers import Worker, Workers
from attnprof.kernels.custom.failed_import import FailedTarget
from attnprof.kernels.custom.reference import parse_reference
from attnprof.kernels.custom.target import Work

_T = TypeVar("_T")


class TargetProxies:
    """Where things of the user's own are asked.

    Args:
        workers: make their processes, one for each thing.
        max_seconds: for one answer.
        shares_imports: whether what one of them imports is imported for the others, too.

    Attributes:
        max_seconds: as given; what is asked later may have less.
    """

    def __init__(
        self, workers: Workers, max_seconds: float, *, shares_imports: bool = True
    ) -> None:
        self.workers = workers
        self.max_seconds = max_seconds
        self.shares_imports = shares_imports
        self._targets: dict[str, TargetProxy | FailedTarget] = {}

    def find(self, name: str) -> TargetProxy | FailedTarget:
        """What a reference names.

        Raises:
            UsageError: when there is no such thing, or it cannot be used.
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


class TargetProxy:
    """A kernel of the user's own, whose methods run in a process of its own.

    What they return and raise is remembered. Where the process is lost, the next question has
    another.

    Raises:
        UsageError: when there is no such thing, or it cannot be used.
        FailedError: when it ends its process when it is imported.
    """

    pattern_support: Literal["dense", "pattern", "custom"] = "custom"
    ptflops_misses: str = ""
    needs_compilation: bool = False
    has_float32_softmax: bool = False

    def __init__(self, name: str, apart: TargetProxies) -> None:
        parse_reference(name)
        self.name: str = name
        self.summary: str = name
        self._apart = apart
        self._worker: Worker | None = None
        self._known: dict[tuple[str, Workload | None], Outcome] = {}
        self._request("name", None)

    def build(self, workload: Workload) -> Call:
        """Cannot be had from another process.

        Raises:
            TypeError: always.
        """
        raise TypeError("what runs apart is not built here")

    def adapt_workload(self, workload: Workload) -> Workload:
        """The workload that it runs."""
        return self._request("adapt_workload", workload)

    def check(self, workload: Workload) -> None:
        """Build it once without numbers; what fails at this length alone is told in its row.

        Raises:
            UsageError: when it cannot be used at any length.
        """
        try:
            self._request("check", workload)
        except FailedError:
            return
        self._share_imports()

    def unsupported_reason(self, workload: Workload) -> str | None:
        """Why it cannot take the workload, None if it can."""
        return self._request("unsupported_reason", workload)

    def padding_multiple(self, workload: Workload) -> int:
        """Pads nothing."""
        return 1

    def notes(self, workload: Workload) -> tuple[str, ...]:
        """What to know about its costs: what was assumed, left out, or has no effect."""
        return self._request("notes", workload)

    def parameters(self, workload: Workload) -> int:
        """Parameters of the module."""
        return self._request("parameters", workload)

    def static_bytes(self, workload: Workload) -> int:
        """Bytes of parameters, buffers and inputs."""
        return self._request("static_bytes", workload)

    def executed_macs(self, workload: Workload) -> int:
        """MACs of all operators of one call."""
        return self._request("executed_macs", workload)

    def work_of_counting(self, workload: Workload) -> Work:
        """What counting its MACs takes."""
        return self._request("work_of_counting", workload)

    def peak_bytes(self, workload: Workload) -> int:
        """The most bytes that a call allocates at one time."""
        return self._request("peak_bytes", workload)

    def source_digest(self) -> str:
        """Of the file that it is from; empty where there is none."""
        return self._request("source_digest", None)

    def run(self, function: Callable[..., _T], *args: Any) -> _T:
        """What a function of a module returns in its process; it is called anew each time.

        Raises:
            AttnprofError: what it raises, or a `FailedError`.
        """
        return self._outcome(function, *args).result

    def close(self) -> None:
        """End its process."""
        if self._worker is not None:
            self._worker.close()
        self._worker = None

    def _share_imports(self) -> None:
        """What it imports of installed packages, all further processes have from the start."""
        if self._apart.shares_imports and self._worker is not None:
            limit = self._apart.max_seconds
            known = self._apart.workers.run(installed_modules, max_seconds=limit).value or []
            here = self._worker.call(installed_modules, max_seconds=limit).value or []
            self._apart.workers.preload([name for name in here if name not in set(known)])

    def _request(self, what: str, workload: Workload | None) -> Any:
        key = (what, workload)
        if key not in self._known:
            arguments: Sequence[Workload] = () if workload is None else (workload,)
            self._known[key] = self._outcome(_answer_request, self.name, what, *arguments)
        return self._known[key].result

    def _outcome(self, function: Callable[..., Any], *args: Any) -> Outcome:
        if self._worker is None:
            self._worker = self._apart.workers.worker()
        outcome = self._worker.call(function, *args, max_seconds=self._apart.max_seconds)
        if outcome.worker_died:
            self.close()
        return outcome


def _answer_request(name: str, what: str, *arguments: Workload) -> Any:
    """What an attribute of a target is, or what its method returns, in the process of this call."""
    from attnprof.kernels import custom

    target = custom.find(name)
    if isinstance(target, FailedTarget):
        raise target.failure
    found = getattr(target, what)
    return found(*arguments) if callable(found) else found
