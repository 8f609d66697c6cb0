"""Checks measured costs against a contract: breaches with their evidence, or notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from attnprof.core.growth.laws import NEAR, GrowthLaw, parse_law
from attnprof.core.growth.observed import ObservedGrowth
from attnprof.core.units import format_tokens
from attnprof.guard.causes import explain
from attnprof.guard.changes import Comparison, describe_changes, most_changed
from attnprof.guard.contract import GROWING, QUANTITIES, Contract, PartKind, Quantity
from attnprof.guard.formatting import KINDS, NAMES, describe_rise, format_part, show
from attnprof.guard.lockfile import Entry
from attnprof.guard.measurement import ContractCosts
from attnprof.guard.parts import exponent_of
from attnprof.guard.results import Breach, Step
from attnprof.guard.useful_limit import over_useful

_GROWTH_PHRASES = {
    "constant": "do not grow with length",
    "linear": "grow linearly with length",
    "quadratic": "grow quadratically with length",
    "cubic": "grow cubically with length",
}
"""What a cost does that follows a law; others grow as the law, such as `n log n`."""


def evaluate(
    contract: Contract, entry: Entry | None, measured: ContractCosts, accept: str
) -> tuple[list[Breach], list[str], list[str]]:
    """Broken terms, their likely causes, and notes on costs that are lower than locked.

    Args:
        contract: what is allowed.
        entry: what is locked; None if the contract has no entry.
        measured: the measured costs, of a measurement without a problem.
        accept: the command that writes the measured costs to the lock.
    """
    stale = _stale(contract, entry, accept)
    comparison = Comparison(entry if stale is None else None, measured)
    breaches = [*([] if stale is None else [stale]), *breaches_of(contract, comparison, accept)]
    if breaches:
        return breaches, explain(comparison), []
    notes = [note for quantity in QUANTITIES for note in _improvement(quantity, comparison, accept)]
    return [], [], notes + lost_laws(contract, comparison)


def breaches_of(contract: Contract, comparison: Comparison, accept: str) -> list[Breach]:
    """Broken limits, and costs beyond what the contract allows against the earlier ones.

    Args:
        contract: what is allowed.
        comparison: the measured costs, and the earlier ones where there are some.
        accept: how to accept the measured costs.
    """
    entry, measured = comparison.entry, comparison.measured
    breaches = _uncounted(contract, comparison, accept)
    breaches += over_useful(contract, measured)
    for quantity in QUANTITIES:
        growth = growth_breaches(contract, quantity, comparison, accept)
        breaches += growth
        breaches += _over_budget(contract, quantity, measured)
        change = None if entry is None else _change(contract, quantity, comparison, accept)
        if change is not None:  # the breach of the law has named the parts already
            breaches.append(replace(change, where=()) if growth else change)
    return breaches


def unknown_growth(contract: Contract, measured: ContractCosts) -> str:
    """Why a law that the contract requires cannot be determined; empty if all can."""
    if contract.forbids_uncounted and measured.uncounted:
        return ""  # this is a breach already
    for quantity in contract.growth:
        growth = measured.growth[quantity]
        if growth.law is not None:
            continue
        if quantity == "macs" and measured.uncounted:
            names = ", ".join(sorted(measured.uncounted))
            return (
                f"growth.macs: cannot be determined: no MAC formula for {names}; register one with "
                f"attnprof.register_mac_formula, or remove growth.macs"
            )
        return (
            f"growth.{quantity}: cannot be determined from lengths up to {growth.longest:,} "
            f"tokens, and longer ones fail or take too much work; set len to four lengths or more "
            f"at a constant ratio, such as 512:4096:x2"
        )
    return ""


def _stale(contract: Contract, entry: Entry | None, accept: str) -> Breach | None:
    """The breach of a contract without an entry, or with one that measured something else."""
    if entry is None:
        return Breach("lock", "has no entry in the lock", mend=(accept,))
    locked, current = entry.subject, contract.subject
    changed = [
        f"{key} was {_setting(locked.get(key))}, is {_setting(current.get(key))}"
        for key in sorted({*locked, *current})
        if locked.get(key) != current.get(key)
    ]
    if not changed:
        return None
    return Breach("lock", f"its entry in the lock is stale: {'; '.join(changed)}", mend=(accept,))


def _setting(value: object) -> str:
    return "not set" if value is None else str(value)


def _uncounted(contract: Contract, comparison: Comparison, accept: str) -> list[Breach]:
    """The breach by operators without a MAC formula."""
    if contract.forbids_uncounted and comparison.measured.uncounted:
        return [_forbidden_uncounted(comparison.measured)]
    return [] if comparison.entry is None else _newly_uncounted(comparison, accept)


def _forbidden_uncounted(measured: ContractCosts) -> Breach:
    names = ", ".join(f"{name} ({calls})" for name, calls in sorted(measured.uncounted.items()))
    register = (
        "register a formula with attnprof.register_mac_formula in the target's module, or set "
        'uncounted = "allow"'
    )
    return Breach(
        "uncounted",
        f"operators without a MAC formula (calls): {names}",
        allowed="forbid",
        mend=(register,),
    )


def _newly_uncounted(comparison: Comparison, accept: str) -> list[Breach]:
    """Where such operators are allowed, more calls than before: they may hide MACs."""
    before = comparison.entry.uncounted if comparison.entry is not None else {}
    names = ", ".join(
        f"{name} ({calls}, was {before.get(name, 0)})"
        for name, calls in sorted(comparison.measured.uncounted.items())
        if calls > before.get(name, 0)
    )
    if not names:
        return []
    adverb = comparison.baseline.adverb
    says = f"more calls of operators without a MAC formula than {adverb}: {names}"
    return [Breach("uncounted", says, mend=(accept,))]


def lost_laws(contract: Contract, comparison: Comparison) -> list[str]:
    """Notes on earlier laws that cannot be determined any more.

    A law that the contract itself requires is a problem instead: `unknown_growth`.
    """
    before = comparison.entry.growth if comparison.entry is not None else {}
    place, growth = comparison.baseline.place, comparison.measured.growth
    return [
        f"growth of {NAMES[quantity]} ({before[quantity]} {place}) can no longer be "
        f"determined: checked up to {format_tokens(growth[quantity].longest)} only"
        for quantity in GROWING
        if before.get(quantity) and growth[quantity].law is None and quantity not in contract.growth
    ]


def _change(
    contract: Contract, quantity: Quantity, comparison: Comparison, accept: str
) -> Breach | None:
    """The breach of an allowance; None if every length is within it."""
    allowance = contract.allowances[quantity]
    steps = [
        step
        for step in _steps(quantity, comparison.entry, comparison.measured)
        if not allowance.allows(step.was, step.now)
    ]
    if not steps:
        return None
    verb = "rose" if steps[-1].now > steps[-1].was else "fell"
    worst = max(steps, key=lambda step: abs(step.now - step.was) / max(step.was, 1))
    extent = describe_rise(worst.was, worst.now) if worst.was else "from 0"
    at = "at every length" if len(steps) == len(comparison.lengths) else "at some lengths"
    return Breach(
        quantity,
        f"{NAMES[quantity]} {verb} {at}, {extent}",
        quantity,
        allowance.text,
        tuple(steps),
        where_changed(KINDS[quantity], comparison, steps[-1].seq_len),
        (accept,),
    )


def _steps(quantity: Quantity, entry: Entry | None, measured: ContractCosts) -> list[Step]:
    """The locked and the measured cost at each length that is in the lock."""
    locked = entry.cells if entry is not None else {}
    return [
        Step(n, getattr(locked[str(n)], quantity), getattr(cell, quantity))
        for n, cell in measured.cells.items()
        if str(n) in locked
    ]


def _improvement(quantity: Quantity, comparison: Comparison, accept: str) -> list[str]:
    """A note on a cost that fell, with the command that locks the lower cost in."""
    entry, measured = comparison.entry, comparison.measured
    if entry is None or (quantity == "macs" and entry.uncounted != measured.uncounted):
        return []
    better = [step for step in _steps(quantity, entry, measured) if step.now < step.was]
    if not better:
        return []
    best = max(better, key=lambda step: (step.was - step.now) / step.was)
    return [
        (
            f"{NAMES[quantity]} fell by up to {format_part(best.was, best.now)}, at "
            f"{format_tokens(best.seq_len)}: {show(quantity, best.was)} → "
            f"{show(quantity, best.now)}; to lock it in: {accept}"
        )
    ]


def growth_breaches(
    contract: Contract, quantity: Quantity, comparison: Comparison, accept: str
) -> list[Breach]:
    """The breach of the law that the contract sets, or else of the locked one; empty if kept."""
    entry, measured = comparison.entry, comparison.measured
    growth = measured.growth.get(quantity)
    if growth is None:
        return []
    locked = entry.growth.get(quantity, "") if entry is not None else ""
    limit = contract.growth.get(quantity) or (parse_law(locked) if locked else None)
    if limit is None or growth.law is None or limit.allows(growth.law, growth.longest):
        return []
    is_written = quantity in contract.growth
    change_contract = f'set growth.{quantity} = "{growth.law}" in the contract'
    return [
        Breach(
            f"growth.{quantity}",
            _describe_growth(quantity, growth.law, growth, locked),
            quantity,
            str(limit) if is_written else f"{limit}, as {comparison.baseline.adverb}",
            (),
            where_changed(KINDS[quantity], comparison, max(measured.cells), limit),
            (change_contract, accept) if is_written else (accept,),
        )
    ]


def _describe_growth(
    quantity: Quantity, law: GrowthLaw, growth: ObservedGrowth, locked: str
) -> str:
    """How a cost grows, how it grew, and the lengths that it was checked at."""
    phrase = _GROWTH_PHRASES.get(str(law), f"grow as {law}")
    before = f"was {locked}; " if locked and locked != str(law) else ""
    return (
        f"{NAMES[quantity]} {phrase} ({before}checked up to {format_tokens(growth.longest)})"
        f"{_quadratic_term(quantity, growth)}"
    )


def _quadratic_term(quantity: Quantity, growth: ObservedGrowth) -> str:
    """The quadratic term of an exact polynomial, and the length from which it dominates."""
    if growth.terms is None or not growth.terms[2]:
        return ""
    _, linear, square = growth.terms
    unit = "MACs" if quantity == "macs" else "B"
    text = f": {float(square):,.6g} {unit} · n²"
    if square > 0 and linear > 0:
        dominant = format_tokens(int(linear / square) + 1)
        return f"{text}, which dominates the linear term from {dominant}"
    return text


def _over_budget(
    contract: Contract, quantity: Quantity, measured: ContractCosts
) -> Iterator[Breach]:
    """The breach of a budget, if there is one."""
    budget = contract.budgets.get(quantity)
    if budget is None:
        return
    over = [
        Step(n, budget, cost)
        for n, cell in measured.cells.items()
        if (cost := getattr(cell, quantity)) > budget
    ]
    if over:
        yield Breach(
            f"max.{quantity}",
            f"{NAMES[quantity]} exceed the budget from {format_tokens(over[0].seq_len)}",
            quantity,
            show(quantity, budget),
            tuple(over),
            where_changed(KINDS[quantity], Comparison(None, measured), over[-1].seq_len),
            (f"raise max.{quantity} in the contract, or reduce the cost",),
        )


def where_changed(
    kind: PartKind, comparison: Comparison, seq_len: int, limit: GrowthLaw | None = None
) -> tuple[str, ...]:
    """The parts that changed most at a length; with a limit, those that grow faster than it."""
    current = comparison.current(kind)
    changes = most_changed(comparison.locked(kind), current, seq_len)
    if limit is not None:
        fast = [
            change
            for change in changes
            if exponent_of(current.get(change.part, {})) > limit.exponent + NEAR
        ]
        changes = fast or changes
    return tuple(describe_changes(kind, changes))
