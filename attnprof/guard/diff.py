"""`diff`: measures contracts at two revisions; the costs at the base take the lock's place."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from attnprof import kernels
from attnprof.core.errors import AttnprofError
from attnprof.guard.base_contracts import changed_terms, tables_at
from attnprof.guard.causes import explain
from attnprof.guard.changes import BASE, Comparison, differences_of
from attnprof.guard.check import Check, judged
from attnprof.guard.contract import ConfigurationError, Contract
from attnprof.guard.evaluate import breaches_of, lost_laws, where_changed
from attnprof.guard.formatting import display_path
from attnprof.guard.lockfile import entry_of
from attnprof.guard.measurement import Cell
from attnprof.guard.paired_timing import TimeChange, length_to_time, time_revisions
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
        where: the parts whose cost changed, the largest change first.
        base: costs at the base, by length.
        head: costs at the head, by length.
        time: how the time changed; None if it was not measured.
    """

    result: Result
    kind: Kind
    changes: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    base: Mapping[int, Cell] = field(default_factory=dict[int, Cell])
    head: Mapping[int, Cell] = field(default_factory=dict[int, Cell])
    time: TimeChange | None = None

    @property
    def word(self) -> str:
        """The verdict in a word: that of the contract, or if it is kept, the kind."""
        return self.kind if self.result.status == "kept" else self.result.status


@dataclass(frozen=True, slots=True)
class Timing:
    """Whether times are compared.

    Attributes:
        is_wanted: whether they are.
        is_strict: whether a slower time breaks a contract.
    """

    is_wanted: bool = False
    is_strict: bool = False


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


def diff(pair: RevisionPair, costs: Costs, timing: Timing, timeout: float) -> Diff:
    """Measure contracts at both revisions and compare the costs.

    Args:
        pair: the revisions, and the contracts of the head.
        costs: measures them.
        timing: whether times are compared too.
        timeout: seconds for one contract at one revision.
    """
    begun = time.monotonic()
    costs.measure(timeout)
    contract_changes = _ContractChanges(pair)
    differences: list[Difference] = []
    for contract in pair.contracts:
        difference = _difference(contract, costs, pair)
        if timing.is_wanted and difference.base and difference.head:
            difference = _timed(difference, contract, costs, timing, timeout)
        differences.append(_with_notes(difference, contract_changes.about(contract), costs))
    differences += contract_changes.removed()
    notes = [*_notes(pair), *costs.notes, *contract_changes.notes]
    return Diff(
        pair.base,
        pair.head,
        tuple(differences),
        tuple(dict.fromkeys(notes)),
        pair.has_contracts,
        time.monotonic() - begun,
    )


def _timed(
    difference: Difference, contract: Contract, costs: Costs, timing: Timing, timeout: float
) -> Difference:
    """The difference with that of the times."""
    result = difference.result
    seq_len = length_to_time(contract, difference.head)
    costs.observe(f"timing {contract.name}", 1.0)
    try:
        change = time_revisions(*costs.timed_targets(contract), seq_len, costs.workers, timeout)
    except AttnprofError as error:
        return replace(difference, result=replace(result, problem=f"time: {error}"))
    if change.outcome == "slower" and timing.is_strict:
        mend = ("merge it as it is, or leave out --strict",)
        breach = Breach("time", f"takes {change}, in both of two runs", mend=mend)
        result = replace(result, breaches=(*result.breaches, breach))
    reason = change.withheld or str(change)
    said = f"time {change.outcome}: {reason}"
    result = replace(result, facts=", ".join(filter(None, [result.facts, said])))
    return replace(difference, result=result, time=change)


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

    result = judged(contract, head.costs, lambda: _evaluation(contract, comparison, pair))
    if result.problem:
        return Difference(result, "unchanged")
    if base.costs.entry is None:
        note = f"new: {base.costs.absent} at {pair.base}, so there is nothing to compare with"
        result = replace(result, notes=(*result.notes, note))
        return Difference(result, "new", head=head.costs.cells)
    entry = base.costs.entry
    changes = tuple(differences_of(entry, entry_of(contract.subject, head.costs)))
    return Difference(
        result,
        "changed" if changes else "unchanged",
        changes,
        _where(comparison) if changes else (),
        {int(length): cell for length, cell in entry.cells.items()},
        head.costs.cells,
    )


def _evaluation(
    contract: Contract, comparison: Comparison, pair: RevisionPair
) -> tuple[list[Breach], list[str], list[str]]:
    """Breaches, causes and notes; a target without a contract has no limit that could break."""
    breaches = breaches_of(contract, comparison, ACCEPT) if pair.has_contracts else []
    notes = [] if breaches else lost_laws(contract, comparison)
    return breaches, explain(comparison), notes


def _where(comparison: Comparison) -> tuple[str, ...]:
    """The parts whose MACs changed most at the longest length, or else parameters or bytes."""
    longest = comparison.lengths[-1]
    kinds = ("macs", "params", "bytes")
    found = (where_changed(kind, comparison, longest) for kind in kinds)
    return next((parts for parts in found if parts), ())


def _with_notes(difference: Difference, notes: Sequence[str], costs: Costs) -> Difference:
    """The difference with further notes; those on a target that was not measured are left out."""
    result = difference.result
    if not result.problem:
        notes = [*notes, *costs.about(result.name)]
    return replace(difference, result=replace(result, notes=(*result.notes, *notes)))


class _ContractChanges:
    """How the contracts themselves differ between the two revisions."""

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
        head = "HEAD" if pair.head.is_checkout else pair.head.name
        yield (
            f"{pair.base} has commits that are not in {pair.head}: what they changed counts as "
            f"undone; leave them out with $(git merge-base {pair.base.name} {head}) as the base"
        )
    if pair.is_own_code and any(_is_own(contract) for contract in pair.contracts):
        yield _OWN_CODE


def _is_own(contract: Contract) -> bool:
    target = contract.target
    return not kernels.is_custom(target) or target.startswith(("attnprof.", "attnprof:"))
