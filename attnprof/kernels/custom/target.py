"""Custom kernels that can be built in this process; their costs are counted, not in closed form."""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnprof.core.errors import MeasurementError, UncountedError, UsageError, code_under_test
from attnprof.core.formulas import TRAINING_FACTOR
from attnprof.core.units import format_bytes
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.isolation.system_memory import available_bytes
from attnprof.kernels.custom.footprint import Footprint, footprint_of
from attnprof.kernels.custom.masked_pairs import count_hidden, forward_of
from attnprof.kernels.custom.traits import CustomKernelTraits

if TYPE_CHECKING:
    from attnprof.counting.operator_counts import OperatorCounts

_MACS_PER_OPERATOR = 2**22
"""MACs of a real run that take as much work as running one more operator on fake tensors."""


@dataclass(frozen=True, slots=True)
class Work:
    """What it takes to count one call.

    Attributes:
        operators: operators that it runs; MACs of a real run count as more of them.
        seconds: processor time.
        is_real: whether it is a run on real tensors, because shapes depend on data.
    """

    operators: int
    seconds: float
    is_real: bool


class Target(CustomKernelTraits, ABC):
    """A custom kernel; its costs come from a run on fake tensors, once for each workload.

    Attributes:
        name: its reference, descriptions of inputs included.
        summary: what it is, in words.
    """

    def __init__(self, name: str, summary: str) -> None:
        self.name: str = name
        self.summary: str = summary
        self._results: dict[tuple[str, Workload], Any] = {}
        self._ran_on_fake: set[tuple[str, str]] = set()
        self._effort: dict[tuple[str, Workload], tuple[float, bool]] = {}

    @abstractmethod
    def build(self, workload: Workload) -> Call:
        """A fresh module with seeded random inputs, of fake tensors inside a fake mode."""

    def unsupported_reason(self, workload: Workload) -> str | None:
        """Why it cannot run the workload, None if it can."""
        return None

    def check(self, workload: Workload) -> None:
        """Build it once on fake tensors; failures at this length only are reported in its row.

        Raises:
            UsageError: when it cannot be used at any length.
        """
        if self.unsupported_reason(workload) is not None:
            return
        try:
            self._footprint(workload)
        except UsageError:
            raise
        except Exception:
            return

    def notes(self, workload: Workload) -> tuple[str, ...]:
        """What to know about its costs: what was assumed, left out, or has no effect."""
        return ()

    def parameters(self, workload: Workload) -> int:
        """Number of parameters of the module."""
        return self._footprint(workload).parameters

    def static_bytes(self, workload: Workload) -> int:
        """Bytes of parameters, buffers and inputs."""
        return self._footprint(workload).static_bytes

    def min_bytes(self, workload: Workload) -> int:
        """Bytes of parameters, buffers, inputs and output, each once; in training of gradients too.

        Raises:
            MeasurementError: when it returns no tensor.
        """
        self._profile(workload)
        footprint = self._footprint(workload)
        output = self._measured_once("output", workload, _output_bytes)
        if workload.mode == "training":
            return footprint.static_bytes + footprint.trained_bytes + 2 * output
        return footprint.static_bytes + output

    def executed_macs(self, workload: Workload) -> int:
        """MACs of all operators of one call.

        Raises:
            UncountedError: when it runs operators without a known formula.
        """
        from attnprof.counting.operator_counts import describe_uncounted

        counts = self._counts(workload)
        if counts.uncounted:
            raise UncountedError(describe_uncounted(counts.uncounted))
        return counts.macs

    def useful_macs(self, workload: Workload) -> int:
        """MACs of one call without those of attention that its masks hide.

        In training three times those of the forward pass, as those of built-in kernels.

        Raises:
            UncountedError: when it runs operators without a known formula.
            MeasurementError: when a mask depends on data, or in training not every product has
                the gradients of both its inputs.
        """
        forward = forward_of(workload)
        useful = self.executed_macs(forward) - sum(self.hidden_macs(forward).values())
        if workload.mode != "training":
            return useful
        is_frozen = self._footprint(workload).has_frozen_parameters
        if is_frozen or TRAINING_FACTOR * useful > self.executed_macs(workload):
            raise MeasurementError("not all of its products have the gradients of both inputs")
        return TRAINING_FACTOR * useful

    def hidden_macs(self, workload: Workload) -> dict[str, int]:
        """MACs of pairs that masks hide in one forward pass, by the path of the module.

        Raises:
            MeasurementError: when a mask depends on data.
        """
        forward = forward_of(workload)
        return self._cached("hidden", forward, lambda: count_hidden(self, forward))

    def macs_by_operator(self, workload: Workload) -> dict[str, int]:
        """MACs of one call by operator, such as `aten.addmm`; their sum is `executed_macs`.

        Raises:
            UncountedError: when it runs operators without a known formula.
        """
        self.executed_macs(workload)  # raises where the operators are not all counted
        macs: dict[str, int] = {}
        for (_, operator), tally in self._counts(workload).tallies.items():
            macs[operator] = macs.get(operator, 0) + tally.macs
        return macs

    def work_of_counting(self, workload: Workload) -> Work:
        """What counting its MACs takes."""
        counts = self._counts(workload)
        operators = sum(tally.calls for tally in counts.tallies.values())
        seconds, is_real = self._effort["macs", workload]
        if is_real:
            operators += counts.macs // _MACS_PER_OPERATOR
        return Work(operators, seconds, is_real)

    def peak_bytes(self, workload: Workload) -> int:
        """The most bytes that a call allocates at one time, followed on fake tensors.

        Raises:
            MeasurementError: when it does not run on fake tensors.
        """
        from attnprof.counting.allocations import peak_bytes
        from attnprof.counting.fake_tensors import on_fake_tensors_alone

        def followed() -> int:
            return on_fake_tensors_alone(
                lambda: self.build(workload),
                lambda call: peak_bytes(call.run),
                unknown="its peak memory",
            )

        self._profile(workload)
        return self._cached("peak", workload, followed)

    def build_bytes(self, workload: Workload) -> int:
        """Bytes of everything that is built to make the call, counted without building it."""
        from attnprof.counting.fake_tensors import fake_mode

        with fake_mode():
            return footprint_of(self.build(workload)).static_bytes

    def source_digest(self) -> str:
        """SHA-256 of the file that defines it; empty where there is none."""
        path = self.source_path()
        return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""

    def _note_cache(self, call: Call, workload: Workload) -> None:
        """Note the sizes of the cache of a call that has run; most calls have none."""

    def cache_bytes(self, workload: Workload) -> int:
        """Bytes that its cache has allocated after a call that decodes.

        Raises:
            MeasurementError: when it has no cache.
        """
        raise MeasurementError(f"{self.name} has no cache")

    @abstractmethod
    def source_path(self) -> Path | None:
        """The file that defines it; None where there is none."""

    def _counts(self, workload: Workload) -> OperatorCounts:
        from attnprof.counting.operator_counts import count_operators

        self._profile(workload)
        return self._measured_once("macs", workload, lambda call: count_operators(call.run))

    def _profile(self, workload: Workload) -> None:
        """Count operators and follow memory in one run, in inference.

        Not in training: there, attributing gradients to modules keeps tensors alive. Nothing is
        raised: what fails here fails again in the run that needs it, and is reported by that.
        """
        if ("macs", workload) in self._results or workload.mode == "training":
            return
        from attnprof.counting.call_profile import profile_call
        from attnprof.counting.fake_tensors import fake_mode

        begun = time.process_time()
        try:
            with code_under_test(), fake_mode():
                call = self.build(workload)
                footprint = footprint_of(call)
                profile = profile_call(call.run)
                self._note_cache(call, workload)
                self._results["output", workload] = profile.output_bytes
        except Exception:
            return
        self._effort["macs", workload] = (time.process_time() - begun, False)
        self._ran_on_fake |= {("macs", workload.mode), ("footprint", workload.mode)}
        self._results["footprint", workload] = footprint
        self._results["macs", workload] = profile.counts
        self._results["peak", workload] = (
            MeasurementError(profile.unknown_peak) if profile.unknown_peak else profile.peak_bytes
        )

    def _footprint(self, workload: Workload) -> Footprint:
        return self._measured_once("footprint", workload, footprint_of)

    def _measured_once(
        self, quantity: str, workload: Workload, measure: Callable[[Call], Any]
    ) -> Any:
        """A cached quantity of a call, measured on fake tensors or, where these fail, on real ones.

        Args:
            quantity: the key under which it is cached.
            workload: the call to build.
            measure: measures it.
        """
        from attnprof.counting.fake_tensors import is_fake_mode, on_fake_tensors

        is_real = True

        def measure_noting_mode(call: Call) -> Any:
            nonlocal is_real
            result = measure(call)
            if is_fake_mode():
                is_real = False
                self._ran_on_fake.add((quantity, workload.mode))
            return result

        def measured() -> Any:
            begun = time.process_time()
            result = on_fake_tensors(
                lambda: self.build(workload),
                measure_noting_mode,
                lambda error: self._check_real_run(quantity, workload, error),
            )
            self._effort[quantity, workload] = (time.process_time() - begun, is_real)
            return result

        return self._cached(quantity, workload, measured)

    def _cached(self, quantity: str, workload: Workload, compute: Callable[[], Any]) -> Any:
        """What `compute` returns; what it raises is cached too, and raised each time."""
        key = (quantity, workload)
        if key not in self._results:
            try:
                with code_under_test():
                    self._results[key] = compute()
            except Exception as error:
                self._results[key] = error
        result = self._results[key]
        if isinstance(result, Exception):
            raise result
        return result

    def _check_real_run(self, quantity: str, workload: Workload, error: Exception) -> None:
        """Return if the quantity may be measured on real tensors, after `error` on fake ones.

        Raises:
            Exception: `error` itself, where a real run would fail in the same way.
            MeasurementError: when there is not enough memory for a real run.
        """
        from attnprof.counting.fake_tensors import needs_real_values, why_not_fake

        if not needs_real_values(error) and (quantity, workload.mode) in self._ran_on_fake:
            raise error  # it ran at other lengths: this length is wrong
        try:
            needed = self.build_bytes(workload)
        except Exception:
            return
        available = available_bytes(workload.device)
        if needed > available:
            raise MeasurementError(
                f"{why_not_fake(error)}, so counting needs a real run: "
                f"{format_bytes(needed)} needed, {format_bytes(available)} available"
            )


def _output_bytes(call: Call) -> int:
    """Bytes of what a forward pass returns."""
    import torch

    with torch.no_grad():
        return call.forward().nbytes
