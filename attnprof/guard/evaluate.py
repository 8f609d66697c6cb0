"""Holds what is measured to a contract: broken terms, each with its evidence, or notes."""

from __future__ import annotations

from dataclasses import replace

from attnprof.core.growth.laws import NEAR, GrowthLaw, parse_law
from attnprof.core.growth.observed import ObservedGrowth
from attnprof.guard.causes import explain
from attnprof.guard.changes import Comparison, describe_changes, most_changed
from attnprof.guard.contract import GROWING, QUANTITIES, Contract, PartKind, Quantity
from attnprof.guard.formatting import KINDS, NAMES, format_part, show
from attnprof.guard.lockfile import Entry
from attnprof.guard.measurement import Measured
from attnprof.guard.parts import exponent_of
from attnprof.guard.results import Breach, Step


def evaluate(
    contract: Contract, entry: Entry | None, measured: Measured, mend: str
) -> tuple[list[Breach], list[str], list[str]]:
    """Terms that are broken, what likely broke them, and notes on what is better than locked.

    Args:
        contract: what is allowed.
        entry: what is locked; None without.
        measured: costs now, without a problem.
        mend: the command that accepts them.
    """
    breaches: list[Breach] = []
    notes: list[str] = []
    stale = _stale(contract, entry, mend)
    if stale is not None:
        breaches.append(stale)
        entry = None
    if contract.forbids_uncounted and measured.uncounted:
        breaches.append(_uncounted(measured))
    elif entry is not None:
        breaches += _newly_uncounted(entry, measured, mend)
    versus = Comparison(entry, measured)
    for quantity in QUANTITIES:
        growth = growth_breaches(contract, quantity, versus, mend)
        breaches += growth
        breaches += _budget(contract, quantity, measured)
        if entry is not None:
            change = _change(contract, quantity, versus, mend)
            if change is None:
                notes += _improvement(quantity, entry, measured, mend)
            else:  # what outgrows the law has been named
                breaches.append(replace(change, where=()) if growth else change)
    if breaches:
        return breaches, explain(versus), []
    return [], [], notes + _lost_laws(contract, entry, measured)


def unknown_growth(contract: Contract, measured: Measured) -> str:
    """Why a law that the contract asks for cannot be told; empty where it can."""
    if contract.forbids_uncounted and measured.uncounted:
        return ""  # that breaks it
    for quantity in contract.growth:
        seen = measured.growth[quantity]
        if seen.law is not None:
            continue
        if quantity == "macs" and measured.uncounted:
            names = ", ".join(sorted(measured.uncounted))
            return (
                f"growth.macs: no law can be told of {names}, which has no MAC formula; give one "
                f"with attnprof.register_mac_formula, or leave growth.macs out"
            )
        return (
            f"growth.{quantity}: no law can be told from lengths up to {seen.longest:,} tokens, "
            f"longer ones do not run, or are too much work; give len four lengths or more, each as "
            f"many times the one before"
        )
    return ""


def _stale(contract: Contract, entry: Entry | None, mend: str) -> Breach | None:
    if entry is None:
        return Breach("lock", "has no entry in the lock", mend=(mend,))
    was, now = entry.subject, contract.subject
    changed = [
        f"{key} was {_said(was.get(key))}, is {_said(now.get(key))}"
        for key in sorted({*was, *now})
        if was.get(key) != now.get(key)
    ]
    if not changed:
        return None
    return Breach("lock", f"its entry in the lock is stale: {'; '.join(changed)}", mend=(mend,))


def _said(value: object) -> str:
    return "not given" if value is None else str(value)


def _uncounted(measured: Measured) -> Breach:
    names = ", ".join(f"{name} ({calls})" for name, calls in sorted(measured.uncounted.items()))
    return Breach(
        "uncounted",
        f"operators without a MAC formula, with their calls: {names}",
        allowed="forbid",
        mend=('attnprof.register_mac_formula in the target\'s module, or uncounted = "allow"',),
    )


def _newly_uncounted(entry: Entry, measured: Measured, mend: str) -> list[Breach]:
    """Where they are allowed: those that are not locked may do what has been counted before."""
    names = ", ".join(
        f"{name} ({calls}, {entry.uncounted.get(name, 0)} before)"
        for name, calls in sorted(measured.uncounted.items())
        if calls > entry.uncounted.get(name, 0)
    )
    if not names:
        return []
    says = f"more operators without a MAC formula than locked, with their calls: {names}"
    return [Breach("uncounted", says, mend=(mend,))]


def _lost_laws(contract: Contract, entry: Entry | None, measured: Measured) -> list[str]:
    """Laws that are locked, and can no longer be told; those that are written are a problem."""
    locked = entry.growth if entry is not None else {}
    return [
        f"the law of its {NAMES[quantity]}, {locked[quantity]} as locked, can no longer be told: "
        f"it is seen up to {measured.growth[quantity].longest:,} tokens only"
        for quantity in GROWING
        if locked.get(quantity)
        and measured.growth[quantity].law is None
        and quantity not in contract.growth
    ]


def _change(contract: Contract, quantity: Quantity, versus: Comparison, mend: str) -> Breach | None:
    allowance = contract.allowances[quantity]
    steps = [
        step
        for step in _steps(quantity, versus.entry, versus.measured)
        if not allowance.admits(step.was, step.now)
    ]
    if not steps:
        return None
    verb = "rose" if steps[-1].now > steps[-1].was else "fell"
    worst = max(steps, key=lambda step: abs(step.now - step.was) / max(step.was, 1))
    at = "at every length" if len(steps) == len(versus.measured.cells) else "at some lengths"
    return Breach(
        quantity,
        f"{NAMES[quantity]} {verb} {at}, by up to {format_part(worst.was, worst.now)}",
        quantity,
        allowance.text,
        tuple(steps),
        _where(KINDS[quantity], versus, steps[-1].seq_len),
        (mend,),
    )


def _steps(quantity: Quantity, entry: Entry | None, measured: Measured) -> list[Step]:
    locked = entry.cells if entry is not None else {}
    return [
        Step(n, getattr(locked[str(n)], quantity), getattr(cell, quantity))
        for n, cell in measured.cells.items()
        if str(n) in locked
    ]


def _improvement(quantity: Quantity, entry: Entry, measured: Measured, mend: str) -> list[str]:
    if quantity == "macs" and entry.uncounted != measured.uncounted:
        return []
    better = [step for step in _steps(quantity, entry, measured) if step.now < step.was]
    if not better:
        return []
    best = max(better, key=lambda step: (step.was - step.now) / step.was)
    return [
        (
            f"{NAMES[quantity]} fell by up to {format_part(best.was, best.now)}, at "
            f"{best.seq_len:,} tokens: {show(quantity, best.was)} → {show(quantity, best.now)}; "
            f"to hold on to that: {mend}"
        )
    ]


def growth_breaches(
    contract: Contract, quantity: Quantity, versus: Comparison, mend: str
) -> list[Breach]:
    """The breach of a law that the contract writes, or else of the locked one; none if kept."""
    entry, measured = versus.entry, versus.measured
    seen = measured.growth.get(quantity)
    if seen is None:
        return []
    locked = entry.growth.get(quantity, "") if entry is not None else ""
    limit = contract.growth.get(quantity) or (parse_law(locked) if locked else None)
    if limit is None or seen.law is None or limit.allows(seen.law, seen.longest):
        return []
    is_written = quantity in contract.growth
    was = f", {locked} before" * (bool(locked) and locked != str(seen.law))
    return [
        Breach(
            f"growth.{quantity}",
            f"{NAMES[quantity]} are {seen.law} in the length{was}, seen up to {seen.longest:,} "
            f"tokens{_polynomial(quantity, seen)}",
            quantity,
            str(limit) if is_written else f"{limit}, as locked",
            (),
            _where(KINDS[quantity], versus, max(measured.cells), limit),
            (f'growth.{quantity} = "{seen.law}" in the contract', mend) if is_written else (mend,),
        )
    ]


def _polynomial(quantity: Quantity, seen: ObservedGrowth) -> str:
    """Coefficients, and where the quadratic part overtakes."""
    if seen.terms is None or not seen.terms[2]:
        return ""
    _, linear, square = seen.terms
    unit = "MACs" if quantity == "macs" else "B"
    text = f": {float(square):,.6g} {unit} · n²"
    if square > 0 and linear > 0:
        return f"{text}, more than the linear part from {int(linear / square) + 1:,} tokens on"
    return text


def _budget(contract: Contract, quantity: Quantity, measured: Measured) -> list[Breach]:
    budget = contract.budgets.get(quantity)
    if budget is None:
        return []
    past = [
        Step(n, budget, now)
        for n, cell in measured.cells.items()
        if (now := getattr(cell, quantity)) > budget
    ]
    if not past:
        return []
    return [
        Breach(
            f"max.{quantity}",
            f"{NAMES[quantity]} are past the budget from {past[0].seq_len:,} tokens on",
            quantity,
            show(quantity, budget),
            tuple(past),
            _where(KINDS[quantity], Comparison(None, measured), past[-1].seq_len),
            (f"a larger max.{quantity} in the contract, or less to compute",),
        )
    ]


def _where(
    kind: PartKind, versus: Comparison, seq_len: int, limit: GrowthLaw | None = None
) -> tuple[str, ...]:
    """The parts that changed most at a length; of a law, those that grow faster than it."""
    changes = most_changed(versus.locked(kind), versus.now(kind), seq_len)
    if limit is not None:
        now = versus.now(kind)
        fast = [
            change
            for change in changes
            if exponent_of(now.get(change.part, {})) > limit.exponent + NEAR
        ]
        changes = fast or changes
    return tuple(describe_changes(kind, changes))
