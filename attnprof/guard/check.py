"""`check`: measures contracts side by side and holds them to the lock."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from attnprof.core.cpu import usable_cores
from attnprof.core.errors import AttnprofError, MeasurementError, UsageError
from attnprof.guard.config import Configuration
from attnprof.guard.contract import GROWING, ConfigurationError, Contract
from attnprof.guard.evaluate import evaluate, unknown_growth
from attnprof.guard.formatting import NAMES, display_path
from attnprof.guard.lockfile import Entry, read_lock
from attnprof.guard.measurement import Measured, measure, modules
from attnprof.guard.results import Breach, Result
from attnprof.guard.timing import TimeRatio, confirmed_time_ratio
from attnprof.isolation.workers import InProcessWorkers, Workers, open_workers
from attnprof.measure import Observer

DEFAULT_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Check:
    """What the check of some contracts comes to.

    Attributes:
        results: in the order of the configuration; entries without a contract come last.
        is_strict: whether what is undecided fails.
        seconds: that it took.
    """

    results: tuple[Result, ...]
    is_strict: bool = False
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """1 where a contract is broken, else 2 or 3 where one could not be checked, else 0."""
        statuses = {result.status for result in self.results}
        if "broken" in statuses or ("undecided" in statuses and self.is_strict):
            return 1
        if "misconfigured" in statuses:
            return ConfigurationError.exit_code
        return MeasurementError.exit_code if "failed" in statuses else 0


@contextmanager
def workers_for(contracts: Sequence[Contract], *, is_isolated: bool = True) -> Generator[Workers]:
    """Where contracts are measured: processes that torch has been imported for, or this one.

    Raises:
        MeasurementError: where the system has no processes of their own.
    """
    if not is_isolated:
        yield InProcessWorkers()
        return
    with open_workers(modules(contracts), is_limited=True) as server:
        yield server


def check(
    configuration: Configuration,
    contracts: Sequence[Contract],
    workers: Workers,
    *,
    config: str = "",
    with_time: bool = True,
    is_strict: bool = False,
    timeout: float = DEFAULT_TIMEOUT_S,
    observe: Observer = lambda activity, done: None,
) -> Check:
    """Measure contracts and hold them to the lock and to their limits; writes nothing.

    Args:
        configuration: of the project.
        contracts: that are checked; entries without a contract are told where these are all.
        workers: where they are measured.
        config: the file as it was named, for the commands in messages.
        with_time: whether times are measured where a contract limits them.
        is_strict: whether an undecided time fails.
        timeout: seconds, for each contract.
        observe: told of the progress.

    Raises:
        ConfigurationError: when the lock cannot be read.
    """
    begun = time.monotonic()
    lock = read_lock(configuration.lock_path)
    measured = dict(measure_all(configuration, contracts, workers, timeout, observe))
    results: list[Result] = []
    for contract in contracts:
        verb = "update" if lock is not None else "init"
        mend = command(verb, contract.name if lock is not None else "", config)
        entry = (lock or {}).get(contract.name)
        result = result_of(contract, entry, measured[contract.name], mend)
        if contract.time is not None and with_time and not result.problem:
            observe(f"{contract.name}: time", 1.0)
            result = _timed(result, contract, configuration.folder, workers, timeout)
        results.append(result)
    if len(contracts) == len(configuration.contracts):
        results += orphans(configuration, lock, config)
    return Check(tuple(results), is_strict, time.monotonic() - begun)


def command(verb: str, name: str = "", config: str = "") -> str:
    """What is to be typed to `init` or `update`."""
    words = ["attnprof guard", verb, *(["--config", shlex.quote(config)] if config else []), name]
    return " ".join(word for word in words if word)


def measure_all(
    configuration: Configuration,
    contracts: Sequence[Contract],
    workers: Workers,
    timeout: float,
    observe: Observer,
) -> Iterator[tuple[str, Measured]]:
    """What is measured of each, by its name, as many at one time as there are cores."""

    def one(contract: Contract) -> Measured:
        outcome = workers.run(measure, contract, configuration.folder, max_seconds=timeout)
        if outcome.status == "ok":
            return outcome.value
        return Measured(problem=outcome.failure, problem_kind="measurement")

    if isinstance(workers, InProcessWorkers):
        for index, contract in enumerate(contracts):
            observe(contract.name, index / len(contracts))
            with _restore_cwd():
                yield contract.name, one(contract)
        return
    pool = ThreadPoolExecutor(min(usable_cores(), len(contracts)))
    try:
        running = {pool.submit(one, contract): contract for contract in contracts}
        for index, done in enumerate(as_completed(running), 1):
            observe(running[done].name, index / len(contracts))
            yield running[done].name, done.result()
    finally:  # whoever is interrupted waits for nobody: the workers end with their server
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _restore_cwd() -> Generator[None]:
    here = Path.cwd()
    try:
        yield
    finally:
        os.chdir(here)


def result_of(contract: Contract, entry: Entry | None, measured: Measured, mend: str) -> Result:
    """The verdict on what was measured of a contract, but for its time."""
    result = Result(contract.name, display_path(contract.file), contract.line)
    problem = measured.problem or unknown_growth(contract, measured)
    if problem:
        return replace(result, problem=problem, is_misconfigured=measured.problem_kind == "config")
    breaches, causes, notes = evaluate(contract, entry, measured, mend)
    laws = {NAMES[quantity]: measured.growth[quantity].law for quantity in GROWING}
    facts = ", ".join(f"{name} {law}" for name, law in laws.items() if law is not None)
    return replace(
        result, breaches=tuple(breaches), causes=tuple(causes), notes=tuple(notes), facts=facts
    )


def _timed(
    result: Result, contract: Contract, folder: Path, workers: Workers, timeout: float
) -> Result:
    limit = contract.time
    assert limit is not None
    try:
        with _restore_cwd():
            run = confirmed_time_ratio(contract, folder, workers, timeout)
    except AttnprofError as error:
        is_usage = isinstance(error, UsageError)
        return replace(result, problem=f"time: {error}", is_misconfigured=is_usage)
    outcome = run.outcome(limit.max)
    told = _describe(run, contract)
    if outcome == "broken":
        breach = Breach(
            "time",
            f"takes {told}, twice seen",
            allowed=f"{limit.max:g}",
            mend=("a larger time.max in the contract, or a faster target",),
        )
        return replace(result, breaches=(*result.breaches, breach))
    if outcome == "undecided":
        why = run.withheld or f"{told}, too near to {limit.max:g} to tell"
        note = f"time is undecided: {why}"
        return replace(result, is_undecided=True, notes=(*result.notes, note))
    return replace(result, facts=f"{result.facts}, {told}")


def _describe(run: TimeRatio, contract: Contract) -> str:
    assert contract.time is not None
    low, middle, high = run.ratio.low, run.ratio.median, run.ratio.high
    return (
        f"{middle:.2f} of {contract.time.reference}'s time at {contract.time.at:,} tokens "
        f"({low:.2f} to {high:.2f}, {run.rounds} rounds)"
    )


def orphans(
    configuration: Configuration, lock: Mapping[str, Entry] | None, config: str = ""
) -> list[Result]:
    """Entries without a contract, each broken."""
    shown = display_path(configuration.lock_path)
    breach = Breach(
        "lock",
        "is in the lock, and there is no contract of this name",
        mend=(command("update", "", config),),
    )
    names = sorted(set(lock or {}) - set(configuration.contracts))
    return [Result(name, shown, 1, (breach,)) for name in names]
