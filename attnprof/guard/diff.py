"""`diff`: measures contracts at two revisions; the costs at the base take the lock's place."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from attnprof import kernels
from attnprof.guard.base_contracts import changed_terms, tables_at
from attnprof.guard.causes import explain
from attnprof.guard.changes import BASE, Comparison, differences_of
from attnprof.guard.check import DEFAULT_TIMEOUT_S, Check, judged
from attnprof.guard.contract import ConfigurationError, Contract
from attnprof.guard.evaluate import breaches_of, lost_laws
from attnprof.guard.formatting import display_path
from attnprof.guard.lockfile import entry_of
from attnprof.guard.measurement import Cell
from attnprof.guard.results import Breach, Result
from attnprof.guard.revision_costs import Costs, RevisionPair
from attnprof.guard.revisions import Repository, Revision

ACCEPT = 'merge it as it is, or allow it in the contract, such as macs = "any"'
"""How a change is accepted: there is no lock to update, and the next base has these costs."""

_OWN_CODE = (
    "built-in kernels and attnprof's own modules are those of the attnprof that runs, at both "
    "revisions; attnprof guard check compares them with the lock"
)

Kind = Literal["unchanged", "changed", "new", "removed"]


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed in the costs of one contract.

    Attributes:
        result: the verdict on the head, with the costs at the base in the lock's place.
        kind: whether the costs differ, and whether both revisions have the contract's target.
        changes: a line for each difference, whether it is allowed or not.
        base: costs at the base, by length.
        head: costs at the head, by length.
    """

    result: Result
    kind: Kind
    changes: tuple[str, ...] = ()
    base: Mapping[int, Cell] = field(default_factory=dict[int, Cell])
    head: Mapping[int, Cell] = field(default_factory=dict[int, Cell])

    @property
    def word(self) -> str:
        """The verdict in a word: that of the contract, or if it is kept, the kind."""
        return self.kind if self.result.status == "kept" else self.result.status


@dataclass(frozen=True, slots=True)
class Diff:
    """The differences between two revisions.

    Attributes:
        base: the revision that is compared with.
        head: the revision that is judged.
        differences: in the order of the configuration; removed contracts come last.
        notes: what to know about all of them.
        has_contracts: whether these are contracts; otherwise targets of the command line.
        seconds: duration of the comparison.
    """

    base: Revision
    head: Revision
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()
    has_contracts: bool = True
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """1 where a contract is broken, else 2 or 3 where one could not be compared, else 0."""
        return self.as_check().exit_code

    def as_check(self) -> Check:
        """The verdicts as those of a check, with the changes that are allowed as notes."""
        results = [
            replace(each.result, notes=(*each.result.notes, *each.changes))
            if each.word == "changed"
            else each.result
            for each in self.differences
        ]
        return Check(tuple(results), seconds=self.seconds)


def diff(pair: RevisionPair, costs: Costs, *, timeout: float = DEFAULT_TIMEOUT_S) -> Diff:
    """Measure contracts at both revisions and compare the costs.

    Args:
        pair: the revisions, and the contracts of the head.
        costs: measures them.
        timeout: seconds for one contract at one revision.
    """
    begun = time.monotonic()
    costs.measure(timeout)
    said = _Said(pair)
    differences = [
        _with_notes(_difference(contract, costs, pair), said.about(contract), costs)
        for contract in pair.contracts
    ]
    differences += said.removed()
    notes = [*_notes(pair), *costs.notes, *said.notes]
    return Diff(
        pair.base,
        pair.head,
        tuple(differences),
        tuple(dict.fromkeys(notes)),
        pair.has_contracts,
        time.monotonic() - begun,
    )


def _difference(contract: Contract, costs: Costs, pair: RevisionPair) -> Difference:
    """The difference between the costs of one contract."""
    head, base = costs.head(contract), costs.base(contract)
    result = Result(contract.name, display_path(contract.file), contract.line)
    if head.absent:
        problem = f"target = {contract.target}: {head.absent} at {pair.head}"
        return Difference(replace(result, problem=problem, is_misconfigured=True), "unchanged")
    if base.problem and not head.costs.problem:
        problem = f"at {pair.base}: {base.problem}"
        return Difference(replace(result, problem=problem), "unchanged", head=head.costs.cells)
    comparison = Comparison(base.costs.entry, head.costs, BASE)

    def evaluation() -> tuple[list[Breach], list[str], list[str]]:
        breaches = breaches_of(contract, comparison, ACCEPT)
        notes = lost_laws(contract, comparison)
        return breaches, explain(comparison) if breaches else [], [] if breaches else notes

    result = judged(contract, head.costs, evaluation)
    if result.problem:
        return Difference(result, "unchanged")
    if base.costs.entry is None:
        note = f"new: {base.costs.absent} at {pair.base}, so there is nothing to compare with"
        result = replace(result, notes=(*result.notes, note))
        return Difference(result, "new", head=head.costs.cells)
    entry = base.costs.entry
    changes = differences_of(entry, entry_of(contract.subject, head.costs))
    return Difference(
        result,
        "changed" if changes else "unchanged",
        tuple(changes),
        {int(length): cell for length, cell in entry.cells.items()},
        head.costs.cells,
    )


def _with_notes(difference: Difference, notes: Sequence[str], costs: Costs) -> Difference:
    """The difference with further notes; those on a target that was not measured are left out."""
    result = difference.result
    if not result.problem:
        notes = [*notes, *costs.about(result.name)]
    return replace(difference, result=replace(result, notes=(*result.notes, *notes)))


class _Said:
    """What the contracts themselves say at the two revisions."""

    def __init__(self, pair: RevisionPair) -> None:
        self._pair = pair
        self.notes: list[str] = []
        paths = pair.contract_files()
        try:
            self._before = tables_at(pair.repository, pair.base, paths)
            self._after = tables_at(pair.repository, pair.head, paths)
        except ConfigurationError as error:
            self.notes.append(f"{error}; its contracts are not compared")
            self._before = self._after = {}

    def about(self, contract: Contract) -> list[str]:
        """A note where a contract said something else at the base."""
        before, after = self._before.get(contract.name), self._after.get(contract.name)
        if before is None or after is None:
            return []
        changed = changed_terms(before, after)
        return (
            [f"the contract itself changed since {self._pair.base}: {changed}"] if changed else []
        )

    def removed(self) -> list[Difference]:
        """Contracts of the base that the head does not have."""
        if not self._pair.is_complete:
            return []
        note = f"has a contract at {self._pair.base}, and none at {self._pair.head}"
        known = self._pair.configuration.contracts
        file = display_path(next(iter(known.values())).file)
        return [
            Difference(Result(name, file, 1, notes=(note,)), "removed")
            for name in self._before
            if name not in known
        ]


def _notes(pair: RevisionPair) -> Iterator[str]:
    """What to know about the two revisions."""
    repository: Repository = pair.repository
    if pair.head.is_checkout:
        number = repository.uncommitted()
        if number:
            files = "1 file" if number == 1 else f"{number:,} files"
            yield f"the working tree includes uncommitted changes in {files}"
    if repository.is_behind(pair.base, pair.head):
        yield (
            f"{pair.base.name} has commits that {pair.head.name} does not have: what they changed "
            f"counts as undone; $(git merge-base {pair.base.name} HEAD) as the base leaves them out"
        )
    if pair.is_own_code and any(_is_own(contract) for contract in pair.contracts):
        yield _OWN_CODE


def _is_own(contract: Contract) -> bool:
    target = contract.target
    return not kernels.is_custom(target) or target.startswith(("attnprof.", "attnprof:"))
