"""The steps of measuring a case, each a function that a process of its own can run."""

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


_FAMILIES = ("bert", "longformer")
"""Prefixes of kernels' names, which are those of transformers' packages too."""

_clock_monitors: list[ClockMonitor] = []
"""On the clocks of the GPU that cases are timed on."""

_prepared: dict[Case, Callable[[], Timed]] = {}
"""What is built in this process and called again and again, by its case."""


def model_modules(kernel_names: Iterable[str]) -> list[str]:
    """What building these built-in kernels imports of transformers."""
    names = tuple(kernel_names)
    return [
        f"transformers.models.{family}.modeling_{family}"
        for family in _FAMILIES
        if any(name.startswith(family) for name in names)
    ]


def modules(kernel_names: Iterable[str]) -> list[str]:
    """What the steps of these kernels import, for it to be imported once."""
    names = set(kernel_names)
    own = {name for name in names if kernels.is_custom(name)}
    built_in = names - own
    return [
        "torch",
        "torch._dynamo",  # imported with the first fake tensor: in every fork, if not before
        *(f"attnprof.kernels.builtin.{name.replace('-', '_')}" for name in sorted(built_in)),
        *model_modules(built_in),
        *(f"attnprof.counting.counters.{name}" for name in counters.names()),
        "attnprof.measure.rounds",
        "attnprof.measure.peak_memory",
        *["attnprof.kernels.custom.python_object", "attnprof.kernels.custom.hf_config"] * bool(own),
    ]


def wrong_output(case: Case, reference: str | None = None) -> str:
    """What is wrong with the output of a call, in words; empty where nothing is.

    Args:
        case: of a built-in kernel, which is compared with its pattern's definition; or of the
            user's own.
        reference: what the user's own is compared with, as `pkg.mod:name`.
    """
    kernel, workload = kernels.find(case.kernel), case.workload
    call = kernel.build(workload)
    if reference is not None:
        from attnprof.kernels.custom.check_against import wrong_against

        return wrong_against(reference, call, workload)
    from attnprof.measure.output_checks import wrong_output

    return wrong_output(call, workload, has_float32_softmax=kernel.has_float32_softmax)


def count_with(case: Case, counter: str) -> int:
    """MACs of one call, by a counter."""
    return counters.find(counter).count(partial(kernels.find(case.kernel).build, case.workload))


def compile_ns(case: Case) -> int:
    """What the first call takes more than the second."""
    from attnprof.measure.rounds import cpu_timer

    call = kernels.find(case.kernel).build(case.workload)
    first_ns, second_ns = cpu_timer(call.run).time_ns, cpu_timer(call.run).time_ns
    return max(0, first_ns - second_ns)


def peak_memory(case: Case) -> PeakMemory:
    """The most memory that one call takes."""
    from attnprof.measure.peak_memory import measure_peak_memory

    call = kernels.find(case.kernel).build(case.workload)
    if kernels.find(case.kernel).needs_compilation:
        call.run()
    return measure_peak_memory(call.run, case.workload.device)


def build(case: Case) -> None:
    """Build what is going to be timed; it is kept until `clear`."""
    from attnprof.measure.rounds import cpu_timer, cuda_timer

    is_on_gpu = case.workload.device == "cuda"
    timer = cuda_timer() if is_on_gpu else cpu_timer
    if is_on_gpu and not _clock_monitors:
        from attnprof.measure.gpu_clocks import monitor_clocks

        _clock_monitors.append(monitor_clocks())
    _prepared[case] = partial(timer, kernels.find(case.kernel).build(case.workload).run)


def timed(case: Case) -> Timed:
    """One call of what was built."""
    for watch in _clock_monitors:
        watch.sample()
    return _prepared[case]()


def fastest_rate(dtype: DType, device: Device, seconds: float) -> int:
    """MACs a second that a product reaches at best."""
    from attnprof.measure import rounds, throughput

    timer = rounds.cuda_timer() if device == "cuda" else rounds.cpu_timer
    return throughput.fastest_macs_per_s(dtype, device, timer, seconds)


def threads() -> int:
    """That a call computes with here; on a GPU the one that launches its work."""
    import torch

    return 1 if _clock_monitors else torch.get_num_threads()


def clock_note() -> str:
    """What was seen of the GPU's clocks meanwhile; empty where nothing was."""
    return "; ".join(watch.note() for watch in _clock_monitors)


def clear() -> None:
    """Keep nothing any longer."""
    _prepared.clear()
    _clock_monitors.clear()
