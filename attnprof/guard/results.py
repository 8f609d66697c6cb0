"""The result of checking a contract: its status, breaches, likely causes and notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from attnprof.guard.contract import Quantity

Status = Literal["kept", "broken", "undecided", "misconfigured", "failed"]
"""Of a contract. `undecided`: its time is too close to the limit for a verdict. `misconfigured`: it
names something that cannot be used. `failed`: it could not be measured."""


@dataclass(frozen=True, slots=True)
class Step:
    """A cost that changed, at one length.

    Attributes:
        seq_len: the length in tokens.
        was: the locked cost, or the budget.
        now: the measured cost.
    """

    seq_len: int
    was: int
    now: int


@dataclass(frozen=True, slots=True)
class Breach:
    """One term of a contract that is broken.

    Attributes:
        term: the contract's key, such as `macs`, `growth.macs` or `max.peak_bytes`; `lock` for a
            missing or stale entry of the lock.
        quantity: the cost that it limits; None for `lock`, `time` and `uncounted`.
        says: the breach as a sentence.
        allowed: the limit as the contract writes it; empty if it has none.
        steps: the costs that break it, by length.
        where: the parts whose cost changed, the largest change first.
        mend: remedies: what to change, and the command to run afterwards.
    """

    term: str
    says: str
    quantity: Quantity | None = None
    allowed: str = ""
    steps: tuple[Step, ...] = ()
    where: tuple[str, ...] = ()
    mend: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """The result of checking one contract.

    Attributes:
        name: the contract's name.
        file: the file that defines it, relative to the current folder if it is inside.
        line: the line of its table, from 1.
        breaches: the terms that are broken.
        causes: their likely causes as sentences, the likeliest first.
        notes: improvements, and what could not be decided.
        problem: why the contract could not be measured; empty if it was.
        is_misconfigured: whether the problem is in the contract itself.
        is_undecided: whether its time is too close to the limit for a verdict.
        facts: the measured laws and the time ratio, in a few words.
    """

    name: str
    file: str
    line: int
    breaches: tuple[Breach, ...] = ()
    causes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""
    is_misconfigured: bool = False
    is_undecided: bool = False
    facts: str = ""

    @property
    def status(self) -> Status:
        """The verdict; a breach takes precedence over a problem, and a problem over undecided."""
        if self.breaches:
            return "broken"
        if self.problem:
            return "misconfigured" if self.is_misconfigured else "failed"
        return "undecided" if self.is_undecided else "kept"
