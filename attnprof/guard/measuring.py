"""Measures what a contract is about: deterministic costs at its lengths, and how they grow."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from attnprof import kernels
from attnprof.errors import MeasurementError, UsageError, describe_error
from attnprof.fused_buffers import on_any_machine
from attnprof.growth import Growth, name_law, solve_growth
from attnprof.guard.cases import case_of, key_of
from attnprof.guard.contract import Contract, Quantity
from attnprof.guard.laws import GrowthLaw, parse_law
from attnprof.plan import Case
from attnprof.seeded import seeded_everywhere

if TYPE_CHECKING:
    from attnprof.operators.observing import Observation

FARTHEST = 2**20
"""Laws are seen up to about so many tokens."""

MOST_OPERATORS = 8192
"""In building and running what is measured for the law alone: a loop over blocks ends there, on
every machine at the same length."""


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


@dataclass(frozen=True, slots=True)
class Seen:
    """How a quantity grows.

    Attributes:
        law: the law; None where too few lengths run to tell it.
        longest: the longest length that it was seen at.
        terms: coefficients of 1, n and n², where it is this polynomial exactly.
    """

    law: GrowthLaw | None
    longest: int
    terms: tuple[Fraction, Fraction, Fraction] | None = None


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
    growth: dict[Quantity, Seen] = field(default_factory=dict[Quantity, Seen])
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
    from attnprof.steps import model_modules

    targets = [contract.target for contract in contracts]
    targets += [contract.time.reference for contract in contracts if contract.time]
    loaded = ["torch", "attnprof.operators.observing", "attnprof.targets.python_object"]
    loaded += model_modules(name for name in targets if not kernels.is_own(name))
    if any(".json" in name or "::" in name for name in targets):
        loaded.append("attnprof.targets.hf_config")
    return loaded


def measure(contract: Contract, folder: Path) -> Measured:
    """The costs of a contract, in a process of its own: it goes to the folder and stays there."""
    os.chdir(folder)
    try:
        cases = {n: case_of(contract.target, n, contract.options) for n in contract.lengths}
    except UsageError as error:
        key = key_of(error)
        value = "" if key == "target" and str(error.value) == contract.target else error.value
        said = f" = {value}" if value else ""
        return Measured(problem=f"{key}{said}: {error.expected}", problem_kind="config")
    except Exception as error:
        return Measured(problem=describe_error(error), problem_kind="config")

    def case_at(seq_len: int) -> Case:
        return cases.get(seq_len) or case_of(contract.target, seq_len, contract.options)

    return observe_all(case_at, contract.lengths)


@dataclass(frozen=True, slots=True)
class _Look:
    """What is remembered of one length.

    Attributes:
        cell: the costs.
        uncounted: names of operators without a formula.
        operators: that building and running it took.
    """

    cell: Cell
    uncounted: frozenset[str]
    operators: int


def observe_all(case_at: Callable[[int], Case], lengths: tuple[int, ...]) -> Measured:
    """Costs at all lengths, and their growth, in this process."""
    measured = Measured(versions=_versions())
    seen: dict[int, _Look] = {}

    def look(seq_len: int) -> tuple[Observation, dict[str, int]]:
        with on_any_machine(), seeded_everywhere():
            observation, params, built = _observed(case_at(seq_len))
        counts = observation.counts
        cell = Cell(counts.macs, sum(params.values()), observation.peak_bytes)
        called = sum(tally.calls for tally in counts.tallies.values())
        seen[seq_len] = _Look(cell, frozenset(counts.uncounted), built + called)
        return observation, params

    for seq_len in lengths:
        try:
            observation, params = look(seq_len)
        except Exception as error:
            measured.problem = f"at {seq_len:,} tokens: {describe_error(error)}"
            measured.problem_kind = "measurement"
            return measured
        measured.cells[seq_len] = seen[seq_len].cell
        for place, number in params.items():
            measured.params.setdefault(place, {})[seq_len] = number
        for (place, operator), tally in observation.counts.tallies.items():
            part = f"{place} {operator}".strip()
            measured.calls.setdefault(part, {})[seq_len] = tally.calls
            measured.macs.setdefault(part, {})[seq_len] = tally.macs
        for origin, size in observation.bytes_by_origin.items():
            measured.bytes.setdefault(origin, {})[seq_len] = size
        measured.uncounted.update(observation.counts.uncounted)

    def look_farther(seq_len: int) -> _Look | None:
        if seq_len not in seen:
            if _expected_operators(seen, seq_len) > MOST_OPERATORS:
                return None
            try:
                look(seq_len)
            except Exception:  # a length that it does not take ends what can be known of the law
                return None
        return seen[seq_len]

    def macs(seq_len: int) -> int | None:
        found = look_farther(seq_len)
        # A count that has more holes than those of the contract's lengths tells nothing of them.
        is_whole = found is not None and found.uncounted <= measured.uncounted.keys()
        return found.cell.macs if found is not None and is_whole else None

    def peak_bytes(seq_len: int) -> int | None:
        found = look_farther(seq_len)
        return None if found is None else found.cell.peak_bytes

    measured.growth["macs"] = _growth(lengths, macs)
    measured.growth["peak_bytes"] = _growth(lengths, peak_bytes)
    return measured


def _expected_operators(seen: Mapping[int, _Look], seq_len: int) -> float:
    """Operators that a length takes, as their number grew so far."""
    points = sorted((n, look.operators) for n, look in seen.items() if n <= seq_len)[-2:]
    if len(points) < 2:
        return points[0][1] * (seq_len / points[0][0]) if points else 0
    (n0, c0), (n1, c1) = points
    if not (c0 and c1):
        return 0
    return c1 * (seq_len / n1) ** max(0.0, math.log(c1 / c0) / math.log(n1 / n0))


def _growth(lengths: tuple[int, ...], cost: Callable[[int], int | None]) -> Seen:
    """The polynomial through four lengths, checked at the others and far away; else a law."""
    known = _four_lengths(lengths, cost)
    unit = lengths[0]
    far = unit * 2 ** max(0, round(math.log2(FARTHEST / unit)))
    if len(known) >= 4:
        polynomial = solve_growth(lambda n: known[n], tuple(sorted(known))[:4])
        holds = not polynomial.residual and all(polynomial.at(n) == y for n, y in known.items())
        farther = _farthest(max(known), far, cost) if holds else {}
        if holds and all(polynomial.at(n) == y for n, y in farther.items()):
            return Seen(_law_of(polynomial), max(known | farther), _terms(polynomial))
    points = _doublings(unit, far, cost)
    if len(points) < 2:
        return Seen(None, points[-1][0] if points else max(lengths))
    law = name_law(points)
    named = parse_law(law.name) if law.name else GrowthLaw(round(law.exponent, 3))
    return Seen(named, law.longer)


def _four_lengths(lengths: tuple[int, ...], cost: Callable[[int], int | None]) -> dict[int, int]:
    """Costs at the contract's lengths, and at multiples of the shortest where these are few."""
    known: dict[int, int] = {}
    for seq_len in (*lengths, *(lengths[0] * factor for factor in range(2, 6))):
        if seq_len in known or (len(known) >= 4 and seq_len not in lengths):
            continue
        value = cost(seq_len)
        if value is not None:
            known[seq_len] = value
    return known


def _farthest(longest: int, far: int, cost: Callable[[int], int | None]) -> dict[int, int]:
    """The cost at the farthest length that runs: at once, or by steps where that does not."""
    if far <= longest:
        return {}
    value = cost(far)
    if value is not None:
        return {far: value}
    reached: dict[int, int] = {}
    for step in range(1, 12):
        seq_len = longest * 4**step
        value = cost(seq_len) if seq_len < far else None
        if value is None:
            break
        reached[seq_len] = value
    return reached


def _doublings(unit: int, far: int, cost: Callable[[int], int | None]) -> list[tuple[int, int]]:
    points: list[tuple[int, int]] = []
    seq_len = unit
    while seq_len <= far:
        value = cost(seq_len)
        if not value:
            break
        points.append((seq_len, value))
        seq_len *= 2
    return points


def _terms(growth: Growth) -> tuple[Fraction, Fraction, Fraction]:
    return growth.c0, growth.c1, growth.c2


def _law_of(growth: Growth) -> GrowthLaw:
    return GrowthLaw(2.0 if growth.c2 else 1.0 if growth.c1 else 0.0)


def _observed(case: Case) -> tuple[Observation, dict[str, int], int]:
    """What one call does and holds, parameters by module, and operators that building it took."""
    from attnprof.breakdown import on_fake_or_real
    from attnprof.call import Call
    from attnprof.operators.observing import Effort, observe

    def both(call: Call) -> tuple[Observation, dict[str, int]]:
        params: Counter[str] = Counter()
        for name, parameter in call.module.named_parameters():
            params[name.rpartition(".")[0]] += parameter.numel()
        return observe(call.run), dict(params)

    reason = kernels.find(case.kernel).supports(case.workload)
    if reason:
        raise MeasurementError(reason)
    effort = Effort()

    def build() -> Call:
        effort.calls = 0
        with effort:
            return kernels.find(case.kernel).build(case.workload)

    observation, params = on_fake_or_real(case, both, build)
    return observation, params, effort.calls


def _versions() -> dict[str, str]:
    from attnprof.environment import versions

    return versions("attnprof", "torch", "transformers")
