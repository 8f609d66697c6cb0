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
    seen: dict[int, _Probe | None] = {}
    unseen: set[str] = set()

    def look(seq_len: int, *, is_contracts: bool) -> tuple[_Probe, CallProfile, dict[str, int]]:
        longer = Case(case.kernel, replace(case.workload, seq_len=seq_len))
        with on_any_machine(), seeded_everywhere(), _gc_disabled():
            begun = time.process_time()
            observation, params, built = _observed(longer, may_be_real=is_contracts)
            seconds = time.process_time() - begun
        counts = observation.counts
        cell = Cell(counts.macs, sum(params.values()), observation.peak_bytes)
        called = sum(tally.calls for tally in counts.tallies.values())
        found = seen[seq_len] = _Probe(cell, bool(counts.uncounted), built + called, seconds)
        return found, observation, params

    for seq_len in lengths:
        try:
            found, observation, params = look(seq_len, is_contracts=True)
        except Exception as error:
            hint = "" if measured.cells else _hint(case)
            measured.problem = f"at {seq_len:,} tokens: {describe_error(error)}{hint}"
            measured.problem_kind = "measurement"
            return measured
        measured.cells[seq_len] = found.cell
        for place, number in params.items():
            measured.params.setdefault(place, {})[seq_len] = number
        for (place, operator), tally in observation.counts.tallies.items():
            part = f"{place} {operator}".strip()
            measured.calls.setdefault(part, {})[seq_len] = tally.calls
            measured.macs.setdefault(part, {})[seq_len] = tally.macs
        for origin, size in observation.bytes_by_origin.items():
            measured.bytes.setdefault(origin, {})[seq_len] = size
        measured.uncounted.update(observation.counts.uncounted)
        unseen |= observation.unknown_inside

    held_before = _static_bytes()
    looks = [found for found in seen.values() if found is not None]
    most_operators = max([MOST_OPERATORS, *(2 * found.operators for found in looks)])

    def look_farther(seq_len: int) -> _Probe | None:
        if seq_len in seen:
            return seen[seq_len]
        seen[seq_len] = None
        known = {n: found for n, found in seen.items() if found is not None}
        operators = {n: found.operators for n, found in known.items()}
        seconds = {n: found.seconds for n, found in known.items()}
        is_short = expected_work(operators, seq_len) <= most_operators
        is_room = _static_bytes() - held_before <= MOST_BYTES
        if is_short and is_room and not loops_in_python(operators, seconds, seq_len):
            # A length that it does not take ends what can be known of the law.
            with suppress(Exception):
                look(seq_len, is_contracts=False)
        return seen[seq_len]

    def macs(seq_len: int) -> int | None:
        found = look_farther(seq_len)
        return None if found is None or found.has_holes else found.cell.macs

    def peak_bytes(seq_len: int) -> int | None:
        found = look_farther(seq_len)
        return None if found is None else found.cell.peak_bytes

    # What is not counted may grow faster than what is.
    is_whole = not measured.uncounted
    measured.growth["macs"] = (
        observe_growth(lengths, macs) if is_whole else ObservedGrowth(None, lengths[-1])
    )
    # Nor is it known how fast that grows which an operator allocates unseen.
    is_seen = not unseen
    measured.growth["peak_bytes"] = (
        observe_growth(lengths, peak_bytes) if is_seen else ObservedGrowth(None, lengths[-1])
    )
    return measured


def _static_bytes() -> int:
    """The most real memory that this process has had so far; 0 where the system does not tell."""
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


def _observed(case: Case, *, may_be_real: bool) -> tuple[CallProfile, dict[str, int], int]:
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
    effort = OperatorCounter()

    def build() -> Call:
        effort.calls = 0
        with effort:
            return kernels.find(case.kernel).build(case.workload)

    observation, params = on_fake_or_real(case, both, build, may_be_real=may_be_real)
    return observation, params, effort.calls


def _versions() -> dict[str, str]:
    from attnprof.measure.environment import versions

    return versions("attnprof", "torch", "transformers")
