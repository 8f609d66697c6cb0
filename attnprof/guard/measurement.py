"""Measures what a contract limits: deterministic counts at its lengths, and their growth."""

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
from attnprof.core.units import format_tokens
from attnprof.core.workload import Case
from attnprof.guard.cases import case_of, key_of
from attnprof.guard.contract import Contract, Quantity
from attnprof.kernels import custom
from attnprof.kernels.seeding import seeded_everywhere

if TYPE_CHECKING:
    from attnprof.counting.call_profile import CallProfile

MAX_ADDED_BYTES = 2**28
"""Resident memory that longer lengths may have added before the next one is skipped. Fake tensors
take none; tables that a module builds with numpy do."""

MAX_OPERATORS = 8192
"""Operators that building and running the target may take at a length beyond the contract's; twice
as many as at the contract's own lengths if that is more. A loop over blocks thus ends at the same
length on every machine."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Costs at one length.

    Attributes:
        macs: MACs of all operators with a formula.
        params: number of parameters.
        peak_bytes: the most bytes that tensors of one call take at a time, in one thread.
    """

    macs: int
    params: int
    peak_bytes: int


@dataclass(slots=True)
class ContractCosts:
    """Everything that the check of one contract needs; can be pickled.

    Attributes:
        cells: costs by length.
        growth: growth of `macs` and `peak_bytes`.
        calls: calls of operators, by `module operator` and length.
        macs: MACs by `module operator` and length.
        bytes: bytes at the peak, by `module operator dtype` and length.
        params: parameters by module and length.
        useful_macs: MACs that masks let through, by length; empty unless the contract limits them.
        hidden_macs: MACs of pairs that masks hide, by module and length, where these are known.
        useful_problem: why these are not known; empty if they are, or are not needed.
        uncounted: operators without a MAC formula, with their calls.
        versions: versions of packages that counts depend on.
        problem: why the contract could not be measured; empty if it was.
        problem_kind: `config` for a problem in the contract, `measurement` for one in running it.
    """

    cells: dict[int, Cell] = field(default_factory=dict[int, Cell])
    growth: dict[Quantity, ObservedGrowth] = field(default_factory=dict[Quantity, ObservedGrowth])
    calls: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    macs: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    bytes: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    params: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    useful_macs: dict[int, int] = field(default_factory=dict[int, int])
    hidden_macs: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    useful_problem: str = ""
    uncounted: dict[str, int] = field(default_factory=dict[str, int])
    versions: dict[str, str] = field(default_factory=dict[str, str])
    problem: str = ""
    problem_kind: Literal["", "config", "measurement"] = ""


def modules(contracts: Iterable[Contract]) -> list[str]:
    """Modules that measuring these contracts imports, so that they can be imported once."""
    from attnprof.measure.worker_tasks import model_modules

    targets = [contract.target for contract in contracts]
    targets += [contract.time.reference for contract in contracts if contract.time]
    # The first fake tensor imports torch's compiler: in every fork, unless it is imported before.
    loaded = ["torch", "torch._dynamo", "attnprof.counting.call_profile"]
    loaded.append("attnprof.kernels.custom.python_object")
    loaded += model_modules(name for name in targets if not kernels.is_custom(name))
    if any(".json" in name or "::" in name or name in custom.PUBLISHED for name in targets):
        loaded.append("attnprof.kernels.custom.hf_config")
    return loaded


def measure(contract: Contract, folder: Path) -> ContractCosts:
    """Measure a contract in its own process, whose current folder becomes the given one."""
    os.chdir(folder)
    try:
        case = case_of(contract.target, contract.lengths[0], contract.options)
    except UsageError as error:
        key = key_of(error, contract.options)
        value = "" if key == "target" and str(error.value) == contract.target else error.value
        setting = f"{key} = {value}" if value else key
        return ContractCosts(problem=f"{setting}: {error.expected}", problem_kind="config")
    except Exception as error:
        return ContractCosts(problem=describe_error(error), problem_kind="config")
    measured = measure_contract(case, contract.lengths)
    if contract.executed_over_useful is not None and not measured.problem:
        _measure_useful(case, measured)
    return measured


def _measure_useful(case: Case, measured: ContractCosts) -> None:
    """Add the MACs that masks let through at each length, or why they are not known."""
    from attnprof.measure.static_costs import useful_macs

    kernel = kernels.find(case.kernel)
    for seq_len in measured.cells:
        at_length = Case(case.kernel, case.workload.at(seq_len))
        try:
            with on_any_machine(), seeded_everywhere(), redirect_stdout(sys.stderr):
                measured.useful_macs[seq_len] = useful_macs(at_length)
                hidden = kernel.hidden_macs(at_length.workload) if custom.is_target(kernel) else {}
            for path, macs in hidden.items():
                measured.hidden_macs.setdefault(path, {})[seq_len] = macs
        except Exception as error:
            measured.useful_problem = f"at {format_tokens(seq_len)}: {describe_error(error)}"
            return


@dataclass(frozen=True, slots=True)
class _Probe:
    """The measurement at one length.

    Attributes:
        cell: the costs.
        has_uncounted: whether there are operators without a MAC formula.
        operators: number of operators in building and running the target.
        seconds: CPU seconds for building and running the target.
    """

    cell: Cell
    has_uncounted: bool
    operators: int
    seconds: float


def measure_contract(case: Case, lengths: tuple[int, ...]) -> ContractCosts:
    """Measure a case at all lengths, and its growth, in this process."""
    measured = ContractCosts(versions=_versions())
    probe = _ContractProbe(case, measured)
    for seq_len in lengths:
        try:
            probe.measure(seq_len)
        except Exception as error:
            hint = "" if measured.cells else _hint(case)
            measured.problem = f"at {format_tokens(seq_len)}: {describe_error(error)}{hint}"
            measured.problem_kind = "measurement"
            return measured
    probe.set_budget()
    # Operators without a MAC formula may grow faster than the others, and so may the unknown bytes
    # that some operators allocate internally.
    unknown = ObservedGrowth(None, lengths[-1])
    measured.growth["macs"] = unknown if measured.uncounted else observe_growth(lengths, probe.macs)
    measured.growth["peak_bytes"] = (
        unknown if probe.unknown_inside else observe_growth(lengths, probe.peak_bytes)
    )
    return measured


class _ContractProbe:
    """Runs a case at its contract's lengths, then at longer ones within a budget of work.

    Args:
        case: the contract's case, at any length.
        measured: receives the costs at the contract's lengths.

    Attributes:
        unknown_inside: operators that allocate an unknown number of bytes internally.
    """

    def __init__(self, case: Case, measured: ContractCosts) -> None:
        self.unknown_inside: set[str] = set()
        self._case = case
        self._measured = measured
        self._probes: dict[int, _Probe | None] = {}
        self._max_operators = MAX_OPERATORS
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
        """Set the work budget of longer lengths from that of the contract's lengths."""
        operators = [probe.operators for probe in self._probes.values() if probe is not None]
        self._max_operators = max([MAX_OPERATORS, *(2 * number for number in operators)])
        self._memory_before = _max_resident_bytes()

    def macs(self, seq_len: int) -> int | None:
        """MACs at a length; None if the target does not run, or an operator has no formula."""
        probe = self._probe_beyond(seq_len)
        return None if probe is None or probe.has_uncounted else probe.cell.macs

    def peak_bytes(self, seq_len: int) -> int | None:
        """Peak bytes at a length; None if the target does not run."""
        probe = self._probe_beyond(seq_len)
        return None if probe is None else probe.cell.peak_bytes

    def _probe_beyond(self, seq_len: int) -> _Probe | None:
        if seq_len not in self._probes:
            self._probes[seq_len] = None
            if self._is_within_budget(seq_len):
                # An error at a longer length only ends the check of the law.
                with suppress(Exception):
                    self._run(seq_len, is_contract_length=False)
        return self._probes[seq_len]

    def _is_within_budget(self, seq_len: int) -> bool:
        known = {n: probe for n, probe in self._probes.items() if probe is not None}
        operators = {n: probe.operators for n, probe in known.items()}
        seconds = {n: probe.seconds for n, probe in known.items()}
        is_short = expected_work(operators, seq_len) <= self._max_operators
        is_small = _max_resident_bytes() - self._memory_before <= MAX_ADDED_BYTES
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
    """Peak resident memory of this process so far; 0 where the system does not report it."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def _gc_disabled() -> Generator[None]:
    """Disable the garbage collector, so that peaks do not depend on when it runs.

    Objects in reference cycles then live until the end. Output of the target goes to stderr.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        gc.collect(0)  # objects created meanwhile
        if was_enabled:
            gc.enable()


def _hint(case: Case) -> str:
    """A remedy where the inputs of a custom kernel were guessed; else empty."""
    name = case.kernel
    if not kernels.is_custom(name) or ".json" in name or "(" in name:
        return ""
    return ' (inputs were guessed from its signature; describe them with input = "x=batch,len,64")'


def _profiled(case: Case, *, may_be_real: bool) -> tuple[CallProfile, dict[str, int], int]:
    """The profile of one call, parameters by module, and the number of operators in building."""
    from attnprof.counting.call import Call
    from attnprof.counting.call_profile import OperatorCounter, profile_call
    from attnprof.measure.breakdown import on_fake_or_real

    def profile_and_params(call: Call) -> tuple[CallProfile, dict[str, int]]:
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

    profile, params = on_fake_or_real(case, profile_and_params, build, may_be_real=may_be_real)
    return profile, params, built.calls


def _versions() -> dict[str, str]:
    from attnprof.measure.environment import versions

    return versions("attnprof", "torch", "transformers")
