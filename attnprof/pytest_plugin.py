"""The contracts of a project as pytest items: `pytest --attnprof`.

A contract is `pyproject.toml::NAME`; `-k`, node IDs and xdist work as with any other item.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from attnprof.guard.contract import Contract
    from attnprof.isolation.workers import Workers

_configuration = pytest.StashKey[Any]()
_workers = pytest.StashKey[Any]()
_stack = pytest.StashKey[ExitStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options `--attnprof` and `--attnprof-config`."""
    group = parser.getgroup("attnprof", "attnprof: complexity contracts")
    group.addoption(
        "--attnprof",
        action="store_true",
        help="also check the complexity contracts in attnprof.toml and pyproject.toml",
    )
    group.addoption(
        "--attnprof-config",
        metavar="FILE",
        help="file with the contracts (default: attnprof.toml and pyproject.toml in the root "
        "folder, or in the nearest folder above it that has contracts)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read the contracts and add their files to those that pytest collects.

    Raises:
        pytest.UsageError: when they cannot be read.
    """
    if not config.getoption("--attnprof"):
        return
    from attnprof.guard.config import read_configuration
    from attnprof.guard.contract import ConfigurationError

    file = config.getoption("--attnprof-config")
    path = None if file is None else config.invocation_params.dir / file
    try:
        configuration = read_configuration(path, config.rootpath)
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[_configuration] = configuration
    collected = [
        (config.invocation_params.dir / argument.partition("::")[0]).resolve()
        for argument in config.args
    ]
    files = dict.fromkeys(contract.file.resolve() for contract in configuration.contracts.values())
    config.args += [str(file) for file in files if file not in collected]


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the worker processes."""
    if _stack in config.stash:
        config.stash[_stack].close()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ContractFile | None:
    """A collector for a file that defines contracts."""
    configuration = parent.config.stash.get(_configuration, None)
    if configuration is None:
        return None
    files = {contract.file.resolve() for contract in configuration.contracts.values()}
    if file_path.resolve() not in files:
        return None
    return ContractFile.from_parent(parent, path=file_path)


class ContractFile(pytest.File):
    """A file that defines contracts."""

    def collect(self) -> Iterator[pytest.Item]:
        """An item for each contract in the file; the first file also has one for the lock."""
        configuration = self.config.stash[_configuration]
        contracts = list(configuration.contracts.values())
        for contract in contracts:
            if contract.file.resolve() == self.path.resolve():
                yield ContractItem.from_parent(self, name=contract.name, contract=contract)
        if contracts[0].file.resolve() == self.path.resolve():
            yield LockItem.from_parent(self, name="lock")


class BrokenError(Exception):
    """A contract is broken or could not be checked; the message is the report."""


class GuardItem(pytest.Item):
    """An item that fails with a report instead of a traceback."""

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """The report without attnprof's traceback."""
        if isinstance(excinfo.value, BrokenError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)


class LockItem(GuardItem):
    """The lock file: every entry must have a contract."""

    def runtest(self) -> None:
        """Read the lock file.

        Raises:
            BrokenError: when it cannot be read, or has entries without a contract.
        """
        from attnprof.core.errors import AttnprofError
        from attnprof.guard.check import Check, orphans
        from attnprof.guard.lockfile import read_lock
        from attnprof.guard.reports import text

        configuration = self.config.stash[_configuration]
        try:
            entries = read_lock(configuration.lock_path)
        except AttnprofError as error:
            raise BrokenError(str(error)) from None
        config = self.config.getoption("--attnprof-config") or ""
        results = orphans(configuration, entries, config)
        if results:
            raise BrokenError(text.render(Check(tuple(results))))

    def reportinfo(self) -> tuple[Path, None, str]:
        """The lock file's path, and the item's name in reports."""
        return self.config.stash[_configuration].lock_path, None, "attnprof lock file"


class ContractItem(GuardItem):
    """One contract."""

    def __init__(self, *, contract: Contract, **options: Any) -> None:
        super().__init__(**options)
        self._contract = contract

    def runtest(self) -> None:
        """Measure the contract and check it against the lock and its limits.

        Raises:
            BrokenError: when it is broken or could not be checked.
        """
        from attnprof.core.errors import AttnprofError
        from attnprof.guard.check import check
        from attnprof.guard.reports import text

        configuration = self.config.stash[_configuration]
        try:
            done = check(
                configuration,
                [self._contract],
                self._shared_workers(),
                config=self.config.getoption("--attnprof-config") or "",
            )
        except AttnprofError as error:
            raise BrokenError(str(error)) from None
        done = replace(done, results=done.results[:1])  # LockItem reports the others
        for result in done.results:
            if result.is_undecided and not result.breaches:
                warnings.warn(pytest.PytestWarning("; ".join(result.notes)), stacklevel=1)
        if done.exit_code:
            raise BrokenError(text.render(done))

    def _shared_workers(self) -> Workers:
        """The worker processes of all contracts: they import torch once."""
        from attnprof.guard.check import workers_for

        stash = self.config.stash
        if _workers not in stash:
            stash[_stack] = ExitStack()
            contracts = list(stash[_configuration].contracts.values())
            stash[_workers] = stash[_stack].enter_context(workers_for(contracts))
        return stash[_workers]

    def reportinfo(self) -> tuple[Path, int, str]:
        """The contract's file and line, counted from 0, and the item's name in reports."""
        return self._contract.file, self._contract.line - 1, f"attnprof contract {self.name}"
