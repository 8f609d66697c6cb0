"""The tasks of measuring a case: module-level functions that a worker process can run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from attnprof import kernels
from attnprof.core.workload import Case
from attnprof.counting import counters

if TYPE_CHECKING:
    from attnprof.core.workload import Device, DType
    from attnprof.measure.disturbance import Timed
    from attnprof.measure.gpu_clocks import ClockMonitor
    from attnprof.measure.peak_memory import PeakMemory


_FAMILIES = ("bert", "longformer", "mistral")
"""Prefixes of kernel names that are also names of packages in transformers."""

_clock_monitors: list[ClockMonitor] = []
"""Monitors of the GPU that cases are timed on; at most one."""

_prepared: dict[Case, Callable[[], Timed]] = {}
"""Timed calls that are built in this process, by case."""


def model_modules(kernel_names: Iterable[str]) -> list[str]:
    """Modules of transformers that building these built-in kernels imports."""
    names = tuple(kernel_names)
    return [
        f"transformers.models.{family}.modeling_{family}"
        for family in _FAMILIES
        if any(name.startswith(family) for name in names)
    ]


def modules(kernel_names: Iterable[str]) -> list[str]:
    """Modules that the tasks of these kernels import, so that they are imported only once."""
    names = set(kernel_names)
    built_in = {name for name in names if not kernels.is_custom(name)}
    for_custom = ("attnprof.kernels.custom.python_object", "attnprof.kernels.custom.hf_config")
    return [
        "torch",
        "torch._dynamo",  # otherwise every fork imports it with its first fake tensor
        *(f"attnprof.kernels.builtin.{name.replace('-', '_')}" for name in sorted(built_in)),
        *model_modules(built_in),
        *(f"attnprof.counting.counters.{name}" for name in counters.names()),
        "attnprof.measure.rounds",
        "attnprof.measure.peak_memory",
        *(for_custom if names != built_in else ()),
    ]


def check_output(case: Case, reference: str | None = None) -> str:
    """Describe what is wrong with the output of a call; empty if nothing is.

    Args:
        case: of a built-in or custom kernel.
        reference: function or module that a custom kernel is compared with, as `pkg.mod:name`;
            None for a built-in kernel, which is compared with its pattern's definition.
    """
    kernel, workload = kernels.find(case.kernel), case.workload
    call = kernel.build(workload)
    if reference is not None:
        from attnprof.kernels.custom.check_against import wrong_against

        return wrong_against(reference, call, workload)
    from attnprof.measure.output_checks import describe_wrong_output

    return describe_wrong_output(call, workload, has_float32_softmax=kernel.has_float32_softmax)


def count_with(case: Case, counter: str) -> int:
    """MACs of one call according to a counter."""
    return counters.find(counter).count(partial(kernels.find(case.kernel).build, case.workload))


def compile_ns(case: Case) -> int:
    """Nanoseconds by which the first call is slower than the second."""
    from attnprof.measure.rounds import cpu_timer

    call = kernels.find(case.kernel).build(case.workload)
    first_ns, second_ns = cpu_timer(call.run).time_ns, cpu_timer(call.run).time_ns
    return max(0, first_ns - second_ns)


def peak_memory(case: Case) -> PeakMemory:
    """The peak memory of one call."""
    from attnprof.measure.peak_memory import measure_peak_memory

    call = kernels.find(case.kernel).build(case.workload)
    if kernels.find(case.kernel).needs_compilation:
        call.run()
    return measure_peak_memory(call.run, case.workload.device)


def build(case: Case) -> None:
    """Build the call that is going to be timed; it is kept until `clear`."""
    from attnprof.measure.rounds import cpu_timer, cuda_timer

    is_on_gpu = case.workload.device == "cuda"
    timer = cuda_timer() if is_on_gpu else cpu_timer
    if is_on_gpu and not _clock_monitors:
        from attnprof.measure.gpu_clocks import monitor_clocks

        _clock_monitors.append(monitor_clocks())
    _prepared[case] = partial(timer, kernels.find(case.kernel).build(case.workload).run)


def timed(case: Case) -> Timed:
    """Time one call of a case that `build` has prepared."""
    for monitor in _clock_monitors:
        monitor.sample()
    return _prepared[case]()


def fastest_rate(dtype: DType, device: Device, seconds: float) -> int:
    """The best MACs per second of matrix products."""
    from attnprof.measure import rounds, throughput

    timer = rounds.cuda_timer() if device == "cuda" else rounds.cpu_timer
    return throughput.fastest_macs_per_s(dtype, device, timer, seconds)


def threads() -> int:
    """Threads that a call computes with here; on a GPU only the one that launches its work."""
    import torch

    return 1 if _clock_monitors else torch.get_num_threads()


def clock_note() -> str:
    """The GPU's clocks while cases were timed, as a sentence; empty without readings."""
    return "; ".join(monitor.note() for monitor in _clock_monitors)


def clear() -> None:
    """Free everything that was built."""
    _prepared.clear()
    _clock_monitors.clear()
