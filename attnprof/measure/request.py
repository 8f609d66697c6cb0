"""What is the user's own is asked in processes of its own, as long as a request is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self, TypedDict, TypeVar, cast

from attnprof import kernels
from attnprof.core.errors import code_under_test
from attnprof.core.workload import Case
from attnprof.isolation.workers import open_workers
from attnprof.kernels import custom
from attnprof.kernels.custom import TargetProxy
from attnprof.options import GridOptions, read_kernel_names, read_seconds

DEFAULT_TIMEOUT_SECONDS = 600.0
_T = TypeVar("_T")


class IsolationOptions(TypedDict, total=False):
    """Options that say where what is the user's own runs, and how long."""

    timeout: float | str | None
    no_isolation: bool


@dataclass(slots=True, kw_only=True)
class Request:
    """What is checked and ready to run: a context, with which its processes end.

    Attributes:
        stack: what ends with it.
    """

    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()


def isolated(options: Mapping[str, object]) -> ExitStack:
    """Processes for what is the user's own among the kernels; nothing where there is none of it.

    They end when the stack is closed. What the user's own prints there goes to stderr.

    Raises:
        UsageError: for a timeout or kernels that cannot be used.
        MeasurementError: where the system has no processes of their own.
    """
    timeout = read_seconds("timeout", options.get("timeout"), DEFAULT_TIMEOUT_SECONDS)
    own = [
        name for name in read_kernel_names(cast("GridOptions", options)) if kernels.is_custom(name)
    ]
    with ExitStack() as stack:
        if own and not options.get("no_isolation"):
            server = stack.enter_context(open_workers(_modules(own), shows_output=True))
            shares_imports = len(own) > 1
            stack.enter_context(
                custom.custom_kernels_in(server, timeout, shares_imports=shares_imports)
            )
        return stack.pop_all()


def where_it_runs(function: Callable[[Case], _T], case: Case) -> _T:
    """What a function of a module says of a case, called where the case's kernel can be built.

    Raises:
        FailedError: when the process of the kernel ends or is out of time.
    """
    kernel = kernels.find(case.kernel)
    if isinstance(kernel, TargetProxy):
        return kernel.run(function, case)
    with code_under_test():
        return function(case)


def _modules(own: list[str]) -> list[str]:
    """What counting these imports, for it to be imported once."""
    is_python = [custom.is_python(name) for name in own]
    modules = [
        "torch",
        "torch._dynamo",
        "attnprof.counting.operator_counts",
        "attnprof.counting.allocations",
    ]
    modules += ["attnprof.kernels.custom.python_object"] * any(is_python)
    if not all(is_python):
        modules += ["attnprof.kernels.custom.hf_config", "transformers.models.auto.modeling_auto"]
    return modules
