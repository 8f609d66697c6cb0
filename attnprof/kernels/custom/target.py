"""What the user's own things have in common once they can be built: their costs are counted."""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attnprof.core.errors import MeasurementError, UncountedError, code_under_test
from attnprof.core.pattern import AttentionPattern
from attnprof.core.units import format_bytes
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.isolation.system_memory import available_bytes

if TYPE_CHECKING:
    from attnprof.counting.operator_counts import OperatorCounts

_MACS_OF_AN_OPERATOR = 2**22
"""A real run of so many MACs is as much work as one operator more."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What lives as long as a call can be repeated.

    Attributes:
        parameters: how many there are.
        static_bytes: of parameters, buffers and inputs.
    """

    parameters: int
    static_bytes: int


@dataclass(frozen=True, slots=True)
class Work:
    """What it takes to count one call.

    Attributes:
        operators: that it runs; what multiplies for real counts for more of them.
        seconds: of the processor.
        is_real: whether it is a real run, as its shapes depend on data.
    """

    operators: int
    seconds: float
    is_real: bool


class Target(ABC):
    """A kernel of the user's own; its costs come from a run on fake tensors, once each.

    Attributes:
        name: how the user names it, inputs included.
        summary: what it is.
    """

    pattern_support: Literal["dense", "pattern", "custom"] = "custom"
    ptflops_misses: str = ""
    needs_compilation: bool = False
    has_float32_softmax: bool = False

    def __init__(self, name: str, summary: str) -> None:
        self.name: str = name
        self.summary: str = summary
        self._known: dict[tuple[str, Workload], Any] = {}
        self._fake: set[tuple[str, str]] = set()
        self._taken: dict[tuple[str, Workload], tuple[float, bool]] = {}

    @abstractmethod
    def build(self, workload: Workload) -> Call:
        """A fresh module with seeded random inputs, of fake tensors inside a fake mode."""

    def adapt_workload(self, workload: Workload) -> Workload:
        """The workload that it runs: whatever pattern and scope are, it is as it is."""
        pattern = AttentionPattern.dense(workload.num_heads)
        return replace(workload, pattern=pattern, scope="attention")

    def unsupported_reason(self, workload: Workload) -> str | None:
        """Why it cannot take the workload, None if it can."""
        if workload.device == "cuda":
            import torch

            if not torch.cuda.is_available():
                return "what it costs on cuda is counted on a machine with CUDA"
        return None

    def padding_multiple(self, workload: Workload) -> int:
        """Pads nothing."""
        return 1

    def check(self, workload: Workload) -> None:
        """Build it once without numbers; what fails at this length alone is told in its row.

        Raises:
            UsageError: when it cannot be used at any length.
        """
        from attnprof.core.errors import UsageError

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
        """Parameters of the module."""
        return self._footprint(workload).parameters

    def static_bytes(self, workload: Workload) -> int:
        """Bytes of parameters, buffers and inputs."""
        return self._footprint(workload).static_bytes

    def executed_macs(self, workload: Workload) -> int:
        """MACs of all operators of one call.

        Raises:
            UncountedError: when it runs operators that no formula is known for.
        """
        from attnprof.counting.operator_counts import describe_uncounted

        counts = self._counts(workload)
        if counts.uncounted:
            raise UncountedError(describe_uncounted(counts.uncounted))
        return counts.macs

    def work_of_counting(self, workload: Workload) -> Work:
        """What counting its MACs takes."""
        counts = self._counts(workload)
        calls = sum(tally.calls for tally in counts.tallies.values())
        seconds, is_real = self._taken["macs", workload]
        if is_real:
            calls += counts.macs // _MACS_OF_AN_OPERATOR
        return Work(calls, seconds, is_real)

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
                unknown="what it allocates",
            )

        self._observe(workload)
        return self._remembered("peak", workload, followed)

    def build_bytes(self, workload: Workload) -> int:
        """Bytes of all that is built to make the call, counted without building it."""
        from attnprof.counting.fake_tensors import fake_mode

        with fake_mode():
            return _footprint(self.build(workload)).static_bytes

    def source_digest(self) -> str:
        """Of the file that it is from, to tell whether that has changed; empty without one."""
        path = self.source_path()
        return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""

    @abstractmethod
    def source_path(self) -> Path | None:
        """The file that it is from."""

    def _counts(self, workload: Workload) -> OperatorCounts:
        from attnprof.counting.operator_counts import count_operators

        self._observe(workload)
        return self._measured_once("macs", workload, lambda call: count_operators(call.run))

    def _observe(self, workload: Workload) -> None:
        """Count operators and follow memory in one run, where one will do for both.

        In training, what tells the places of gradients holds on to tensors; and what fails is told
        by the run that it fails in.
        """
        if ("macs", workload) in self._known or workload.mode == "training":
            return
        from attnprof.counting.call_profile import profile_call
        from attnprof.counting.fake_tensors import fake_mode

        begun = time.process_time()
        try:
            with code_under_test(), fake_mode():
                call = self.build(workload)
                holdings = _footprint(call)
                observed = profile_call(call.run)
        except Exception:
            return
        self._taken["macs", workload] = (time.process_time() - begun, False)
        self._fake |= {("macs", workload.mode), ("holdings", workload.mode)}
        self._known["holdings", workload] = holdings
        self._known["macs", workload] = observed.counts
        self._known["peak", workload] = (
            MeasurementError(observed.unknown_peak)
            if observed.unknown_peak
            else observed.peak_bytes
        )

    def _footprint(self, workload: Workload) -> Footprint:
        return self._measured_once("holdings", workload, _footprint)

    def _measured_once(self, what: str, workload: Workload, measure: Callable[[Call], Any]) -> Any:
        from attnprof.counting.fake_tensors import is_fake_mode, on_fake_tensors

        is_real = True

        def noted(call: Call) -> Any:
            nonlocal is_real
            taken = measure(call)
            if is_fake_mode():
                is_real = False
                self._fake.add((what, workload.mode))
            return taken

        def measured() -> Any:
            begun = time.process_time()
            taken = on_fake_tensors(
                lambda: self.build(workload),
                noted,
                lambda error: self._check_real(what, workload, error),
            )
            self._taken[what, workload] = (time.process_time() - begun, is_real)
            return taken

        return self._remembered(what, workload, measured)

    def _remembered(self, what: str, workload: Workload, take: Callable[[], Any]) -> Any:
        """What `take` returns; what it raises is raised anew each time."""
        key = (what, workload)
        if key not in self._known:
            try:
                with code_under_test():
                    self._known[key] = take()
            except Exception as error:
                self._known[key] = error
        known = self._known[key]
        if isinstance(known, Exception):
            raise known
        return known

    def _check_real(self, what: str, workload: Workload, error: Exception) -> None:
        """Whether to measure it on real tensors, after `error` on fake ones.

        Raises:
            MeasurementError: when there is no room for it.
        """
        from attnprof.counting.fake_tensors import needs_real_values, why_not_fake

        if not needs_real_values(error) and (what, workload.mode) in self._fake:
            raise error  # at other lengths it ran: it is the length that is wrong
        try:
            needed = self.build_bytes(workload)
        except Exception:
            return
        available = available_bytes(workload.device)
        if needed > available:
            raise MeasurementError(
                f"{why_not_fake(error)}, so it is run to be counted, which needs "
                f"{format_bytes(needed)}, {format_bytes(available)} available"
            )


def _footprint(call: Call) -> Footprint:
    import torch
    from torch.utils._pytree import tree_leaves

    inputs = [leaf for leaf in tree_leaves(call.kwargs) if isinstance(leaf, torch.Tensor)]
    tensors = [*call.module.parameters(), *call.module.buffers(), *inputs]
    storages = {
        tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors
    }
    return Footprint(sum(p.numel() for p in call.module.parameters()), sum(storages.values()))
