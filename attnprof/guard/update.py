"""`init` and `update`: write measured costs to the lock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from attnprof.guard.changes import differences_of
from attnprof.guard.check import DEFAULT_TIMEOUT_S, Check, measure_all, result_of
from attnprof.guard.config import Configuration
from attnprof.guard.contract import ConfigurationError, Contract
from attnprof.guard.formatting import display_path
from attnprof.guard.lockfile import DamagedError, Entry, entry_of, read_lock, write_lock
from attnprof.guard.measurement import ContractCosts
from attnprof.guard.results import Result
from attnprof.isolation.workers import Workers
from attnprof.measure import Observer


@dataclass(frozen=True, slots=True)
class Update:
    """The result of writing the lock.

    Attributes:
        differences: lines that describe the changes, by contract; empty if nothing changed.
        failures: contracts that could not be measured; their entries are unchanged.
    """

    differences: dict[str, list[str]]
    failures: tuple[Result, ...]

    @property
    def exit_code(self) -> int:
        """0, or 2 or 3 where a contract could not be measured, as of a check."""
        return Check(self.failures).exit_code


def init(
    configuration: Configuration,
    contracts: Sequence[Contract],
    workers: Workers,
    *,
    timeout: float = DEFAULT_TIMEOUT_S,
    observe: Observer = lambda activity, done: None,
) -> Update:
    """Measure contracts and write the first lock.

    Raises:
        ConfigurationError: when there is a lock already, or it cannot be written.
    """
    path = configuration.lock_path
    refusal = ConfigurationError(
        f"{display_path(path)}: already exists; run `attnprof guard update` to update it"
    )
    if path.exists():
        raise refusal
    measured = dict(measure_all(configuration, contracts, workers, timeout, observe))
    failures, entries = _entries(contracts, measured)

    def change(before: dict[str, Entry] | None) -> dict[str, Entry]:
        if path.exists():
            raise refusal
        return entries

    if entries:
        write_lock(path, change)
    return Update({name: differences_of(None, entry) for name, entry in entries.items()}, failures)


def update(
    configuration: Configuration,
    contracts: Sequence[Contract],
    workers: Workers,
    *,
    timeout: float = DEFAULT_TIMEOUT_S,
    observe: Observer = lambda activity, done: None,
) -> Update:
    """Measure contracts and write their costs to the lock; entries of other contracts stay.

    If these are all contracts, entries without a contract are removed, and a damaged lock is
    replaced.

    Raises:
        ConfigurationError: when the lock cannot be read or written.
    """
    is_complete = len(contracts) == len(configuration.contracts)
    try:
        read_lock(configuration.lock_path)
    except DamagedError:
        if not is_complete:
            raise
    measured = dict(measure_all(configuration, contracts, workers, timeout, observe))
    failures, entries = _entries(contracts, measured)
    differences: dict[str, list[str]] = {}

    def change(before: dict[str, Entry] | None) -> dict[str, Entry]:
        before = before or {}
        differences.update(
            {name: differences_of(before.get(name), entry) for name, entry in entries.items()}
        )
        kept = before
        if is_complete:
            kept = {name: e for name, e in before.items() if name in configuration.contracts}
            differences.update(
                {
                    name: ["removed from the lock: no contract has this name"]
                    for name in before
                    if name not in kept
                }
            )
        return {**kept, **entries}

    if entries:
        write_lock(configuration.lock_path, change)
    return Update(differences, failures)


def _entries(
    contracts: Iterable[Contract], measured: dict[str, ContractCosts]
) -> tuple[tuple[Result, ...], dict[str, Entry]]:
    """The results of contracts that could not be measured, and the entries of the others."""
    failures: list[Result] = []
    entries: dict[str, Entry] = {}
    for contract in contracts:
        costs = measured[contract.name]
        if costs.problem:
            failures.append(result_of(contract, None, costs, ""))
        else:
            entries[contract.name] = entry_of(contract.subject, costs)
    return tuple(failures), entries
