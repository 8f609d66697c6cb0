"""`check`: measures contracts in parallel and checks them against the lock."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from attnprof.core.cpu import usable_cores
from attnprof.core.errors import AttnprofError, MeasurementError, UsageError
from attnprof.core.units import counted, format_ratio, format_tokens
from attnprof.guard.config import Configuration
from attnprof.guard.contract import GROWING, ConfigurationError, Contract, TimeLimit
from attnprof.guard.evaluate import evaluate, unknown_growth
from attnprof.guard.formatting import NAMES, display_path
from attnprof.guard.lockfile import Entry, read_lock
from attnprof.guard.measurement import ContractCosts, measure, modules
from attnprof.guard.results import Breach, Result
from attnprof.guard.timing import TimeRatio, confirmed_time_ratio
from attnprof.guard.useful_limit import unknown_useful
from attnprof.isolation.workers import InProcessWorkers, Workers, open_workers
from attnprof.measure import Observer

DEFAULT_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Check:
    """The results of checking contracts.

    Attributes:
        results: in the order of the configuration; entries without a contract come last.
        is_strict: whether an undecided time counts as a failure.
        seconds: duration of the check.
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
def workers_for(
    contracts: Sequence[Contract], *, is_isolated: bool = True, project: Path | None = None
) -> Generator[Workers]:
    """Workers that measure contracts: processes with torch already imported, or this process.

    Args:
        contracts: what they measure.
        is_isolated: whether they are processes.
        project: what lies in this folder is not imported in advance, as revisions of it differ.

    Raises:
        MeasurementError: where the system cannot fork worker processes.
    """
    if not is_isolated:
        yield InProcessWorkers()
        return
    imported = [name for name in modules(contracts) if not _is_inside(name, project)]
    with open_workers(imported, is_limited=True) as server:
        yield server


def _is_inside(name: str, project: Path | None) -> bool:
    """Whether importing a module imports code of the project: transformers may be it."""
    if project is None or not ("transformers" in name or name.endswith(".hf_config")):
        return False
    spec = find_spec("transformers")
    return bool(spec and spec.origin and Path(spec.origin).resolve().is_relative_to(project))


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
    """Measure contracts and check them against the lock and their limits; writes nothing.

    Args:
        configuration: the project's contracts.
        contracts: the contracts to check; if they are all of the project's, entries of the lock
            without a contract are reported, too.
        workers: the processes that measure them.
        config: the configuration file as the user named it, for the commands in messages.
        with_time: whether time limits are checked.
        is_strict: whether an undecided time counts as a failure.
        timeout: seconds for each contract.
        observe: called with the progress.

    Raises:
        ConfigurationError: when the lock cannot be read.
    """
    begun = time.monotonic()
    lock = read_lock(configuration.lock_path)
    observe_costs, observe_times = _stages(observe, contracts, with_time=with_time)
    measured = dict(measure_all(configuration, contracts, workers, timeout, observe_costs))
    results: list[Result] = []
    for index, contract in enumerate(contracts):
        verb = "update" if lock is not None else "init"
        accept = command(verb, contract.name if lock is not None else "", config)
        entry = (lock or {}).get(contract.name)
        result = result_of(contract, entry, measured[contract.name], accept)
        if contract.time is not None and with_time and not result.problem:
            observe_times(f"timing {contract.name}", index / len(contracts))
            result = _timed(result, contract, configuration.folder, workers, timeout)
        results.append(result)
    if len(contracts) == len(configuration.contracts):
        results += orphans(configuration, lock, config)
    return Check(tuple(results), is_strict, time.monotonic() - begun)


def _stages(
    observe: Observer, contracts: Sequence[Contract], *, with_time: bool
) -> tuple[Observer, Observer]:
    """Observers of the costs and of the times, each from 0 to 1; a time counts like a contract."""
    num_timed = sum(contract.time is not None for contract in contracts) if with_time else 0
    share = len(contracts) / (len(contracts) + num_timed)
    return (
        lambda activity, part: observe(activity, share * part),
        lambda activity, part: observe(activity, share + (1 - share) * part),
    )


def command(verb: str, name: str = "", config: str = "") -> str:
    """The command line that initialises or updates a contract's entry, or all of them."""
    words = ["attnprof guard", verb, *(["--config", shlex.quote(config)] if config else []), name]
    return " ".join(word for word in words if word)


def measure_all(
    configuration: Configuration,
    contracts: Sequence[Contract],
    workers: Workers,
    timeout: float,
    observe: Observer,
) -> Iterator[tuple[str, ContractCosts]]:
    """Names of contracts and their costs, as they finish; measures one contract per core."""

    def run(contract: Contract) -> ContractCosts:
        outcome = workers.run(measure, contract, configuration.folder, max_seconds=timeout)
        if outcome.status == "ok":
            return outcome.value
        return ContractCosts(problem=outcome.failure, problem_kind="measurement")

    if isinstance(workers, InProcessWorkers):
        for index, contract in enumerate(contracts):
            observe(f"measuring {contract.name}", index / len(contracts))
            with _restore_cwd():
                yield contract.name, run(contract)
        return
    pool = ThreadPoolExecutor(min(usable_cores(), len(contracts)))
    try:
        running = {pool.submit(run, contract): contract for contract in contracts}
        observe(f"measuring {contracts[0].name}", 0.0)
        for index, done in enumerate(as_completed(running), 1):
            observe(f"measured {running[done].name}", index / len(contracts))
            yield running[done].name, done.result()
    finally:  # an interrupt does not wait: the workers end with their server
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _restore_cwd() -> Generator[None]:
    before = Path.cwd()
    try:
        yield
    finally:
        os.chdir(before)


def result_of(
    contract: Contract, entry: Entry | None, measured: ContractCosts, accept: str
) -> Result:
    """The verdict on a contract's measured costs, except time.

    Args:
        contract: what is allowed.
        entry: what is locked; None if the contract has no entry.
        measured: the measured costs, or the problem that prevented it.
        accept: the command that writes the measured costs to the lock.
    """
    return judged(contract, measured, lambda: evaluate(contract, entry, measured, accept))


def judged(
    contract: Contract,
    measured: ContractCosts,
    evaluation: Callable[[], tuple[list[Breach], list[str], list[str]]],
) -> Result:
    """The verdict on a contract's measured costs: what prevented it, or an evaluation.

    Args:
        contract: what is allowed.
        measured: the measured costs, or the problem that prevented it.
        evaluation: breaches, causes and notes, of a measurement without a problem.
    """
    result = Result(contract.name, display_path(contract.file), contract.line)
    problem = (
        measured.problem or unknown_growth(contract, measured) or unknown_useful(contract, measured)
    )
    if problem:
        return replace(result, problem=problem, is_misconfigured=measured.problem_kind == "config")
    breaches, causes, notes = evaluation()
    laws = {NAMES[quantity]: measured.growth[quantity].law for quantity in GROWING}
    facts = ", ".join(f"{name} {law}" for name, law in laws.items() if law is not None)
    return replace(
        result, breaches=tuple(breaches), causes=tuple(causes), notes=tuple(notes), facts=facts
    )


def _timed(
    result: Result, contract: Contract, folder: Path, workers: Workers, timeout: float
) -> Result:
    """The result with the verdict on the time limit added."""
    limit = contract.time
    assert limit is not None
    try:
        with _restore_cwd():
            ratio = confirmed_time_ratio(contract, folder, workers, timeout)
    except AttnprofError as error:
        is_usage = isinstance(error, UsageError)
        return replace(result, problem=f"time: {error}", is_misconfigured=is_usage)
    outcome = ratio.outcome(limit.max)
    description = _describe(ratio, limit)
    if outcome == "broken":
        breach = Breach(
            "time",
            f"takes {description}, in both of two runs",
            allowed=f"{limit.max:g}",
            mend=("raise time.max in the contract, or make the target faster",),
        )
        return replace(result, breaches=(*result.breaches, breach))
    if outcome == "undecided":
        reason = ratio.withheld or f"{description}, too close to the limit of {limit.max:g}x"
        note = f"time is undecided: {reason}"
        return replace(result, is_undecided=True, notes=(*result.notes, note))
    return replace(result, facts=f"{result.facts}, {description}")


def _describe(time_ratio: TimeRatio, limit: TimeLimit) -> str:
    ratio = time_ratio.ratio
    return (
        f"{format_ratio(ratio.median)} {limit.reference}'s time at {format_tokens(limit.at)} "
        f"({format_ratio(ratio.low)} to {format_ratio(ratio.high)}, "
        f"{counted(time_ratio.rounds, 'round')})"
    )


def orphans(
    configuration: Configuration, lock: Mapping[str, Entry] | None, config: str = ""
) -> list[Result]:
    """A broken result for each entry of the lock that has no contract."""
    path = display_path(configuration.lock_path)
    breach = Breach(
        "lock",
        "is in the lock, but no contract has this name",
        mend=(command("update", "", config),),
    )
    names = sorted(set(lock or {}) - set(configuration.contracts))
    return [Result(name, path, 1, (breach,)) for name in names]
