"""Measures what a contract is about: deterministic costs at its lengths, and how they grow."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from attnprof import kernels
from attnprof.core.cpu import on_any_machine
from attnprof.core.errors import MeasurementError, UsageError, describe_error
from attnprof.core.growth.observed import ObservedGrowth, observe_growth
from attnprof.core.growth.work_budget import expected_work, loops_in_python
from attnprof.core.workload import Case
from attnprof.guard.cases import case_of, key_of
from attnprof.guard.contract import Contract, Quantity
from attnprof.kernels.seeding import seeded_everywhere

if TYPE_CHECKING:
    from attnprof.counting.call_profile import CallProfile

MOST_BYTES = 2**28
"""Real memory, which fake tensors take none of, that longer lengths may have taken before the next:
numpy's, where a module makes its tables with it."""

MOST_OPERATORS = 8192
"""In building and running what is measured for the law alone, or twice as many as at the contract's
lengths: a loop over blocks ends there, on every machine at the same length."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Costs at one length.

    Attributes:
        macs: of all operators with a formula.
        params: parameters.
        peak_bytes: the most that tensors of one call take at one time, in one thread.
    """

    macs: int
    params: int
    peak_bytes: int


@dataclass(slots=True)
class Measured:
    """All that one contract's check needs to know; it crosses from one process to another.

    Attributes:
        cells: by length.
        growth: of `macs` and `peak_bytes`.
        calls: of operators, by `place operator`, by length.
        macs: by `place operator`, by length.
        bytes: at the peak, by `place operator dtype`, by length.
        params: by module, by length.
        uncounted: operators without a formula, with their calls.
        versions: of what was used.
        problem: why it could not be measured; empty where it was.
        problem_kind: of the problem: of what the contract says, or of running it.
    """

    cells: dict[int, Cell] = field(default_factory=dict[int, Cell])
    growth: dict[Quantity, ObservedGrowth] = field(default_factory=dict[Quantity, ObservedGrowth])
    calls: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    macs: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    bytes: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    params: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    uncounted: dict[str, int] = field(default_factory=dict[str, int])
    versions: dict[str, str] = field(default_factory=dict[str, str])
    problem: str = ""
    problem_kind: Literal["", "config", "measurement"] = ""


def modules(contracts: Iterable[Contract]) -> list[str]:
    """What measuring these imports, for it to be imported once."""
    from attnprof.measure.worker_tasks import model_modules

    targets = [contract.target for contract in contracts]
    targets += [contract.time.reference for contract in contracts if contract.time]
    # torch imports its compiler with the first fake tensor: in every fork, if not before.
    loaded = ["torch", "torch._dynamo", "attnprof.counting.call_profile"]
    loaded.append("attnprof.kernels.custom.python_object")
    loaded += model_modules(name for name in targets if not kernels.is_custom(name))
    if any(".json" in name or "::" in name for name in targets):
        loaded.append("attnprof.kernels.custom.hf_config")
    return loaded


def measure(contract: Contract, folder: Path) -> Measured:
    """The costs of a contract, in a process of its own: it goes to the folder and stays there."""
    os.chdir(folder)
    try:
        case = case_of(contract.target, contract.lengths[0], contract.options)
    except UsageError as error:
        key = key_of(error, contract.options)
        value = "" if key == "target" and str(error.value) == contract.target else error.value
        said = f" = {value}" if value else ""
        return Measured(problem=f"{key}{said}: {error.expected}", problem_kind="config")
    except Exception as error:
        return Measured(problem=describe_error(error), problem_kind="config")
    return measure_contract(case, contract.lengths)


@dataclass(frozen=True, slots=True)
class _Probe:
    """What is remembered of one length.

    Attributes:
        cell: the costs.
        has_holes: whether operators without a formula are left out of the MACs.
        operators: that building and running it took.
        seconds: of the processor, for the same.
    """

    cell: Cell
    has_holes: bool
    operators: int
    seconds: float


def measure_contract(case: Case, lengths: tuple[int, ...]) -> Measured:
    """Costs of a case at all lengths, and their growth, in this process."""
    measured = Measured(versions=_versions())
    probe = _ContractProbe(case, measured)
    for seq_len in lengths:
        try:
            probe.measure(seq_len)
        except Exception as error:
            hint = "" if measured.cells else _hint(case)
            measured.problem = f"at {seq_len:,} tokens: {describe_error(error)}{hint}"
            measured.problem_kind = "measurement"
            return measured
    probe.set_budget()
    # What is not counted may grow faster than what is, and so may bytes inside an operator that
    # are not known.
    unknown = ObservedGrowth(None, lengths[-1])
    measured.growth["macs"] = unknown if measured.uncounted else observe_growth(lengths, probe.macs)
    measured.growth["peak_bytes"] = (
        unknown if probe.unknown_inside else observe_growth(lengths, probe.peak_bytes)
    )
    return measured


class _ContractProbe:
    """Runs a case at the lengths of its contract, then at longer ones within a budget of work.

    Args:
        case: the contract's case, at any length.
        measured: takes in what the contract's own lengths cost.

    Attributes:
        unknown_inside: operators that allocate bytes inside which are not known.
    """

    def __init__(self, case: Case, measured: Measured) -> None:
        self.unknown_inside: set[str] = set()
        self._case = case
        self._measured = measured
        self._probes: dict[int, _Probe | None] = {}
        self._max_operators = MOST_OPERATORS
        self._memory_before = 0

    def measure(self, seq_len: int) -> None:
        """Measure one of the contract's lengths."""
        probe, profile, params = self._run(seq_len, is_contract_length=True)
        measured = self._measured
        measured.cells[seq_len] = probe.cell
        for path, number in params.items():
            measured.params.setdefault(path, {})[seq_len] = number
        for (path, operator), tally in profile.counts.tallies.items():
            part = f"{path} {operator}".strip()
            measured.calls.setdefault(part, {})[seq_len] = tally.calls
            measured.macs.setdefault(part, {})[seq_len] = tally.macs
        for origin, size in profile.bytes_by_origin.items():
            measured.bytes.setdefault(origin, {})[seq_len] = size
        measured.uncounted.update(profile.counts.uncounted)
        self.unknown_inside |= profile.unknown_inside

    def set_budget(self) -> None:
        """Allow longer lengths twice the operators of the contract's, and some more memory."""
        operators = [probe.operators for probe in self._probes.values() if probe is not None]
        self._max_operators = max([MOST_OPERATORS, *(2 * number for number in operators)])
        self._memory_before = _max_resident_bytes()

    def macs(self, seq_len: int) -> int | None:
        """MACs at any length; None where some are not counted, or where it does not run."""
        probe = self._probe_beyond(seq_len)
        return None if probe is None or probe.has_holes else probe.cell.macs

    def peak_bytes(self, seq_len: int) -> int | None:
        """Peak bytes at any length; None where it does not run."""
        probe = self._probe_beyond(seq_len)
        return None if probe is None else probe.cell.peak_bytes

    def _probe_beyond(self, seq_len: int) -> _Probe | None:
        if seq_len not in self._probes:
            self._probes[seq_len] = None
            if self._is_within_budget(seq_len):
                # An error at a longer length ends what can be known of the law.
                with suppress(Exception):
                    self._run(seq_len, is_contract_length=False)
        return self._probes[seq_len]

    def _is_within_budget(self, seq_len: int) -> bool:
        known = {n: probe for n, probe in self._probes.items() if probe is not None}
        operators = {n: probe.operators for n, probe in known.items()}
        seconds = {n: probe.seconds for n, probe in known.items()}
        is_short = expected_work(operators, seq_len) <= self._max_operators
        is_small = _max_resident_bytes() - self._memory_before <= MOST_BYTES
        return is_short and is_small and not loops_in_python(operators, seconds, seq_len)

    def _run(
        self, seq_len: int, *, is_contract_length: bool
    ) -> tuple[_Probe, CallProfile, dict[str, int]]:
        case = Case(self._case.kernel, replace(self._case.workload, seq_len=seq_len))
        with on_any_machine(), seeded_everywhere(), _gc_disabled():
            begun = time.process_time()
            profile, params, built = _profiled(case, may_be_real=is_contract_length)
            seconds = time.process_time() - begun
        counts = profile.counts
        cell = Cell(counts.macs, sum(params.values()), profile.peak_bytes)
        called = sum(tally.calls for tally in counts.tallies.values())
        probe = _Probe(cell, bool(counts.uncounted), built + called, seconds)
        self._probes[seq_len] = probe
        return probe, profile, params


def _max_resident_bytes() -> int:
    """The most memory that this process has had in RAM so far; 0 where that is not reported."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def _gc_disabled() -> Generator[None]:
    """What is in cycles lives on to the end, whatever has run before; output mixes with nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        gc.collect(0)  # what has been made meanwhile
        if was_enabled:
            gc.enable()


def _hint(case: Case) -> str:
    """What may help where the inputs of the user's own were guessed."""
    name = case.kernel
    if not kernels.is_custom(name) or ".json" in name or "(" in name:
        return ""
    return ' (inputs were taken from its signature; input = "x=batch,len,64" describes them)'


def _profiled(case: Case, *, may_be_real: bool) -> tuple[CallProfile, dict[str, int], int]:
    """What one call does and holds, parameters by module, and operators that building it took."""
    from attnprof.counting.call import Call
    from attnprof.counting.call_profile import OperatorCounter, profile_call
    from attnprof.measure.breakdown import on_fake_or_real

    def both(call: Call) -> tuple[CallProfile, dict[str, int]]:
        params: Counter[str] = Counter()
        for name, parameter in call.module.named_parameters():
            params[name.rpartition(".")[0]] += parameter.numel()
        return profile_call(call.run), dict(params)

    reason = kernels.find(case.kernel).unsupported_reason(case.workload)
    if reason:
        raise MeasurementError(reason)
    built = OperatorCounter()

    def build() -> Call:
        built.calls = 0
        with built:
            return kernels.find(case.kernel).build(case.workload)

    profile, params = on_fake_or_real(case, both, build, may_be_real=may_be_real)
    return profile, params, built.calls


def _versions() -> dict[str, str]:
    from attnprof.measure.environment import versions

    return versions("attnprof", "torch", "transformers")
