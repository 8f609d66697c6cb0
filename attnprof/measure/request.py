"""Worker processes for custom kernels, which live as long as a request is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self, TypedDict, TypeVar, cast

from attnprof import kernels
from attnprof.core.errors import code_under_test
from attnprof.core.option_values import read_seconds
from attnprof.core.workload import Case
from attnprof.isolation.workers import open_workers
from attnprof.kernels import custom
from attnprof.kernels.custom import TargetProxy
from attnprof.options import GridOptions, read_kernel_names

DEFAULT_TIMEOUT_SECONDS = 600.0
_T = TypeVar("_T")


class IsolationOptions(TypedDict, total=False):
    """Options for where custom kernels run, and for how long."""

    timeout: float | str | None
    no_isolation: bool


@dataclass(slots=True, kw_only=True)
class Request:
    """Options that are checked and ready to run; a context manager that ends its processes.

    Attributes:
        stack: closed at the end of the context.
    """

    stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()


def open_kernel_processes(options: Mapping[str, object]) -> ExitStack:
    """Start processes for the custom kernels among the options; none if there is no such kernel.

    The processes end when the stack is closed. Whatever user code prints there goes to stderr.

    Raises:
        UsageError: for a timeout or kernels that cannot be used.
        MeasurementError: when the system cannot start such processes.
    """
    timeout = read_seconds("timeout", options.get("timeout"), DEFAULT_TIMEOUT_SECONDS)
    custom_names = [
        name for name in read_kernel_names(cast("GridOptions", options)) if kernels.is_custom(name)
    ]
    with ExitStack() as stack:
        if custom_names and not options.get("no_isolation"):
            custom.check_files(custom_names)
            server = stack.enter_context(open_workers(_modules(custom_names), shows_output=True))
            shares_imports = len(custom_names) > 1
            stack.enter_context(
                custom.custom_kernels_in(server, timeout, shares_imports=shares_imports)
            )
        return stack.pop_all()


def run_in_kernel_process(function: Callable[[Case], _T], case: Case) -> _T:
    """Call a module-level function with a case in the process that can build the case's kernel.

    For a built-in kernel that is this process.

    Raises:
        FailedError: when the kernel's process ends or exceeds its time limit.
    """
    kernel = kernels.find(case.kernel)
    if isinstance(kernel, TargetProxy):
        return kernel.run(function, case)
    with code_under_test():
        return function(case)


def _modules(custom_names: list[str]) -> list[str]:
    """Modules that counting these kernels imports, so that they are imported only once."""
    is_python = [custom.is_python(name) for name in custom_names]
    modules = [
        "torch",
        "torch._dynamo",
        "attnprof.counting.operator_counts",
        "attnprof.counting.allocations",
    ]
    if any(is_python):
        modules.append("attnprof.kernels.custom.python_object")
    if not all(is_python):
        modules += ["attnprof.kernels.custom.hf_config", "transformers.models.auto.modeling_auto"]
    return modules
