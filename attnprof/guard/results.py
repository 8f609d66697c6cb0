"""What the check of a contract comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from attnprof.guard.contract import Quantity

Status = Literal["kept", "broken", "undecided", "misconfigured", "failed"]
"""Of a contract: undecided is a time that more rounds would have to decide; misconfigured is what
the contract names and cannot be used, failed what could not be measured."""


@dataclass(frozen=True, slots=True)
class Step:
    """A cost that changed, at one length.

    Attributes:
        seq_len: tokens.
        was: what is locked, or the budget.
        now: what is measured.
    """

    seq_len: int
    was: int
    now: int


@dataclass(frozen=True, slots=True)
class Breach:
    """One term of a contract that is broken.

    Attributes:
        term: the key of the contract, as `macs`, `growth.macs` or `max.peak_bytes`; `lock` for what
            is missing or stale.
        quantity: that is meant; None for the lock.
        says: the sentence.
        allowed: as the contract writes it; empty where nothing is written.
        steps: costs that are past it, by length.
        where: the parts whose cost changed, most first.
        mend: what to write, and the command to run then.
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
    """What the check of one contract comes to.

    Attributes:
        name: of the contract.
        file: that it stands in, relative to the folder that one works in where it can be.
        line: of its table.
        breaches: terms that are broken.
        causes: what the evidence shows of them, likeliest first.
        notes: improvements, and what could not be decided.
        problem: why it could not be measured; empty where it was.
        is_misconfigured: whether the problem is what the contract says.
        is_undecided: whether its time is too near its limit to tell.
        facts: what was measured, in a few words.
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
        """In one word."""
        if self.breaches:
            return "broken"
        if self.problem:
            return "misconfigured" if self.is_misconfigured else "failed"
        return "undecided" if self.is_undecided else "kept"
