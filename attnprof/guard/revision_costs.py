"""Costs of contracts at two revisions: measured in parallel, and at the base only once."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from attnprof import kernels
from attnprof.core.cpu import usable_cores
from attnprof.guard.base_cache import BaseCache, BaseCosts
from attnprof.guard.config import Configuration, files_beside
from attnprof.guard.contract import Contract
from attnprof.guard.lockfile import entry_of
from attnprof.guard.measurement import ContractCosts
from attnprof.guard.paired_timing import TimedTarget
from attnprof.guard.renames import packages_in, renamed
from attnprof.guard.revision_measurement import RevisionCosts, measure_revision
from attnprof.guard.revisions import Repository, Revision, Worktrees
from attnprof.isolation.redirected_imports import SourceTree
from attnprof.isolation.workers import Workers
from attnprof.kernels import custom
from attnprof.measure import Observer

_MAX_NAMES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionPair:
    """Two revisions and the contracts that are measured at both.

    Attributes:
        repository: has the revisions.
        base: the revision that is compared with.
        head: the revision that is judged.
        configuration: the contracts of the head; its folder is in the head's files.
        contracts: those that are measured.
        folder: where they are measured, relative to the root of either revision.
        has_contracts: whether they are the project's; otherwise targets of the command line.
    """

    repository: Repository
    base: Revision
    head: Revision
    configuration: Configuration
    contracts: tuple[Contract, ...]
    folder: PurePosixPath
    has_contracts: bool = True

    @property
    def is_complete(self) -> bool:
        """Whether these are all contracts of the project."""
        return self.has_contracts and len(self.contracts) == len(self.configuration.contracts)

    @property
    def is_own_code(self) -> bool:
        """Whether the project is attnprof itself."""
        return (self.repository.root / "attnprof" / "__init__.py").is_file()

    def contract_files(self) -> list[PurePosixPath]:
        """The files that contracts can be in, relative to the root; none without contracts."""
        if not self.has_contracts:
            return []
        files = {contract.file for contract in self.contracts}
        beside = [name for file in files for name in files_beside(file)]
        return [self.folder / file.name for file in dict.fromkeys(beside)]


@dataclass(frozen=True, slots=True)
class MeasuredBase:
    """A contract at the base.

    Attributes:
        costs: its costs, or why the base has no such target.
        problem: why it could not be measured; empty if it was.
    """

    costs: BaseCosts
    problem: str = ""


class Costs:
    """Measures contracts at both revisions.

    Args:
        pair: the revisions and the contracts.
        trees: have the files of the revisions.
        workers: the processes that measure.
        cache: costs of earlier runs at the base.
        observe: called with the progress.

    Attributes:
        notes: what to know about all contracts.
        workers: as passed.
        observe: as passed.
    """

    def __init__(
        self,
        pair: RevisionPair,
        trees: Worktrees,
        workers: Workers,
        cache: BaseCache,
        observe: Observer = lambda activity, done: None,
    ) -> None:
        self.notes: list[str] = []
        self._pair = pair
        self._trees = trees
        self.workers = workers
        self._cache = cache
        self.observe = observe
        self._heads: dict[str, RevisionCosts] = {}
        self._bases: dict[str, MeasuredBase] = {}
        self._renamed: dict[str, Contract] = {}
        self._packages: dict[str, Collection[str]] = {}

    def head(self, contract: Contract) -> RevisionCosts:
        """The costs of a contract at the head."""
        return self._heads[contract.name]

    def base(self, contract: Contract) -> MeasuredBase:
        """The costs of a contract at the base."""
        return self._bases[contract.name]

    def timed_targets(self, contract: Contract) -> tuple[TimedTarget, TimedTarget]:
        """What is timed at the base, where the target may have another name, and at the head."""
        before = self._renamed.get(contract.name, contract)
        base, head = self.tree(self._pair.base), self.tree(self._pair.head)
        return TimedTarget(before, base), TimedTarget(contract, head)

    def measure(self, timeout: float) -> None:
        """Measure all contracts at the head, and at the base those that are not cached.

        Args:
            timeout: seconds for one contract at one revision.
        """
        pair = self._pair
        heads = [(pair.head, contract) for contract in pair.contracts]
        bases = [(pair.base, contract) for contract in pair.contracts if not self._known(contract)]
        self._run([*heads, *bases], timeout)
        for contract in pair.contracts:
            before = self._before_rename(contract)
            if before is not None:
                self._renamed[contract.name] = before
        moved = [contract for contract in self._renamed.values() if not self._known(contract)]
        self._run([(pair.base, contract) for contract in moved], timeout)
        found = self._renamed.items()
        self._renamed = {n: c for n, c in found if not self._bases[n].costs.absent}
        if any(base.problem for base in self._bases.values()):
            self._note_missing_submodules(pair.base)
        if any(head.costs.problem for head in self._heads.values()):
            self._note_missing_submodules(pair.head)

    def about(self, name: str) -> list[str]:
        """What to know about where the code of a contract came from."""
        contract = next(each for each in self._pair.contracts if each.name == name)
        head, base = self._heads[name], self._pair.base
        notes: list[str] = []
        if name in self._renamed:
            before = self._renamed[name].target
            notes.append(f"{contract.target} was {before} at {base}, where git finds it renamed")
        if not head.file and not head.absent and not self._pair.is_own_code:
            subject = "" if contract.target == name else f"{contract.target} is "
            notes.append(f"{subject}part of {_owner(contract.target)}, the same at both revisions")
        if head.installed:
            names = _listed(head.installed)
            notes.append(f"{names}: an installed copy is imported, not that of either revision")
        built = self._built({*head.elsewhere, *self._bases[name].costs.elsewhere})
        if built:
            names = _listed(built)
            notes.append(f"{names}: compiled once, and used at both revisions")
        return notes

    def _built(self, files: Iterable[str]) -> set[str]:
        """Names of compiled extensions that lie in the checkout, whatever the revision."""
        root = self._pair.repository.root
        paths = {path for path in map(Path, files) if path.is_relative_to(root)}
        return {path.name for path in paths if path.suffix not in (".py", ".pyc")}

    def tree(self, revision: Revision) -> SourceTree:
        """Where the files of a revision are."""
        root = self._trees.path(revision)
        return SourceTree(root, self._pair.repository.root, root / self._pair.folder)

    def _run(self, jobs: Iterable[tuple[Revision, Contract]], timeout: float) -> None:
        """Measure contracts at revisions, as many at a time as there are cores."""
        jobs = list(jobs)
        if not jobs:
            return
        arguments = {
            revision: (self.tree(revision), self._packages_of(revision))
            for revision in dict.fromkeys(revision for revision, _ in jobs)
        }

        def run(revision: Revision, contract: Contract) -> RevisionCosts:
            outcome = self.workers.run(
                measure_revision, contract, *arguments[revision], max_seconds=timeout
            )
            if outcome.status != "ok":
                problem = ContractCosts(problem=outcome.failure, problem_kind="measurement")
                return RevisionCosts(costs=problem)
            measured: RevisionCosts = outcome.value
            folder = f"{arguments[revision][0].root}{os.sep}"
            measured.costs.problem = measured.costs.problem.replace(folder, "")
            return measured

        pool = ThreadPoolExecutor(min(usable_cores(), len(jobs)))
        try:
            running = {pool.submit(run, *job): job for job in jobs}
            self._collect(running)
        finally:  # an interrupt does not wait: the workers end with their server
            pool.shutdown(wait=False, cancel_futures=True)

    def _collect(self, running: Mapping[Future[RevisionCosts], tuple[Revision, Contract]]) -> None:
        self.observe("measuring", 0.0)
        for index, done in enumerate(as_completed(running), 1):
            revision, contract = running[done]
            self.observe(f"measured {contract.name} at {revision.name}", index / len(running))
            if revision is self._pair.head:
                self._heads[contract.name] = done.result()
            else:
                self._bases[contract.name] = self._kept(contract, done.result())

    def _kept(self, contract: Contract, measured: RevisionCosts) -> MeasuredBase:
        """What was measured at the base, which is kept for later runs unless it has a problem."""
        if measured.costs.problem:
            return MeasuredBase(BaseCosts(), measured.costs.problem)
        entry = None if measured.absent else entry_of(contract.subject, measured.costs)
        costs = BaseCosts(entry, measured.absent, measured.elsewhere)
        self._cache.put(self._pair.base.tree, str(self._pair.folder), contract, costs)
        return MeasuredBase(costs)

    def _known(self, contract: Contract) -> bool:
        """Whether an earlier run has measured a contract at the base."""
        costs = self._cache.get(self._pair.base.tree, str(self._pair.folder), contract)
        if costs is not None:
            self._bases[contract.name] = MeasuredBase(costs)
        return costs is not None

    def _before_rename(self, contract: Contract) -> Contract | None:
        """The contract with the name of its target at the base; None if it was not renamed."""
        pair = self._pair
        if not self._bases[contract.name].costs.absent or not self._heads[contract.name].file:
            return None
        file = self._heads[contract.name].file
        before = pair.repository.renames(pair.base, pair.head).get(file)
        target = renamed(contract.target, file, before) if before else None
        return None if target is None else replace(contract, target=target)

    def _packages_of(self, revision: Revision) -> Collection[str]:
        if revision.name not in self._packages:
            files = self._pair.repository.files(revision)
            self._packages[revision.name] = packages_in(files, self._pair.folder)
        return self._packages[revision.name]

    def _note_missing_submodules(self, revision: Revision) -> None:
        missing = self._trees.missing_submodules.get(revision.name, ())
        if missing:
            self.notes.append(
                f"{_listed(missing)}: this submodule's commit at {revision} is not in the local "
                f"clone; run git submodule update --init --recursive, or fetch it there"
            )


def open_cache(repository: Repository, say: Callable[[str], None], *, is_used: bool) -> BaseCache:
    """The cache of a repository, in its git folder; one that keeps nothing if it is not used."""
    return BaseCache(repository.common_folder / "attnprof" if is_used else None, say)


def _owner(target: str) -> str:
    """What a target that is not in the repository belongs to."""
    is_python = kernels.is_custom(target) and custom.is_python(target)
    return "an installed package" if is_python else "attnprof"


def _listed(names: Collection[str]) -> str:
    """At most `_MAX_NAMES` names."""
    shown = sorted(names)[:_MAX_NAMES]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
