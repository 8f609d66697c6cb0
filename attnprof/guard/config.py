"""Reads contracts from `attnprof.toml` and `pyproject.toml`; unknown keys are errors."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from attnprof.core.errors import suggest
from attnprof.guard.contract import ConfigurationError, Contract
from attnprof.guard.contract_parser import ContractReader
from attnprof.guard.formatting import display_path

_NAME = re.compile(r"[\w.-]+")
_FILES = {"attnprof.toml": ("guard",), "pyproject.toml": ("tool", "attnprof", "guard")}


@dataclass(frozen=True, slots=True)
class Configuration:
    """All contracts of a project.

    Attributes:
        folder: the folder that targets, configs and the lock file are relative to.
        contracts: contracts by name, in the order of the files.
        lock_name: name of the lock file; attnprof.toml and pyproject.toml share one.
    """

    folder: Path
    contracts: dict[str, Contract]
    lock_name: str = "attnprof.lock.json"

    @property
    def lock_path(self) -> Path:
        """The lock file, beside the configuration."""
        return self.folder / self.lock_name

    def chosen(self, names: Iterable[str]) -> list[Contract]:
        """The contracts of these names, or all.

        Raises:
            ConfigurationError: for an unknown name.
        """
        for name in names:
            if name not in self.contracts:
                words = suggest(name, self.contracts)
                raise ConfigurationError(f"unknown contract {name}; {words}")
        return [self.contracts[name] for name in dict.fromkeys(names) or self.contracts]


def read_configuration(path: Path | None = None, start: Path | None = None) -> Configuration:
    """Read the contracts of a file, or of the nearest folder upward that has some.

    Args:
        path: the file; attnprof.toml and pyproject.toml in one folder are read together.
        start: the folder where the search starts if there is no path; None is the current one.

    Raises:
        ConfigurationError: when there is no contract, and for the first error in the files.
    """
    folder, files = _nearest(start or Path.cwd()) if path is None else _locate(path)
    contracts = _read_all(files)
    if not contracts:
        where = ", ".join(map(display_path, files)) or str(folder)
        raise ConfigurationError(
            f"{where}: no contract found; write one, with target and len, as "
            f"[tool.attnprof.guard.NAME] in pyproject.toml or as [guard.NAME] in attnprof.toml"
        )
    if path is None or path.name in _FILES:
        return Configuration(folder, contracts)
    return Configuration(folder, contracts, f"{path.stem}.lock.json")


def _locate(path: Path) -> tuple[Path, list[Path]]:
    """The folder of a file, and the files that share its lock.

    Raises:
        ConfigurationError: when the file does not exist, or is no .toml file.
    """
    files = [path]
    if path.name in _FILES:
        others = [path.with_name(name) for name in _FILES if name != path.name]
        files += [file for file in others if file.is_file()]
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such file")
    if path.name not in _FILES and path.suffix != ".toml":
        raise ConfigurationError(f"{path}: contracts belong in a .toml file")
    return path.resolve().parent, files


def _nearest(start: Path) -> tuple[Path, list[Path]]:
    """The nearest folder upward that has contracts, and its files; `start` if there is none."""
    for folder in (start, *start.parents):
        files = [folder / name for name in _FILES if (folder / name).is_file()]
        if any(_tables(file) for file in files):
            return folder, files
    return start, []


def files_beside(path: Path) -> list[Path]:
    """A file with contracts, and where the others would be that share its lock."""
    names = _FILES if path.name in _FILES else (path.name,)
    return [path.with_name(name) for name in names]


def _read_all(files: Iterable[Path]) -> dict[str, Contract]:
    """The contracts of files, by name.

    Raises:
        ConfigurationError: for the first error in the files, or a name that is in two of them.
    """
    contracts: dict[str, Contract] = {}
    for file in files:
        for contract in _read(file):
            _refuse_duplicate(contract, contracts)
            contracts[contract.name] = contract
    return contracts


def _refuse_duplicate(contract: Contract, contracts: Mapping[str, Contract]) -> None:
    first = contracts.get(contract.name)
    if first is not None:
        raise ConfigurationError(
            f"{display_path(contract.file)}:{contract.line}: guard.{contract.name}: is defined "
            f"twice, first in {display_path(first.file)}; rename one of the two"
        )


def _tables(file: Path) -> dict[str, Any]:
    """The tables of contracts in a file, by name.

    Raises:
        ConfigurationError: when it cannot be read, and as `tables_in`.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{display_path(file)}: cannot be read: {error}") from error
    return tables_in(file, text)


def _parsed(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        if "Cannot declare" in str(error):
            raise ConfigurationError(
                f"{display_path(file)}: {error}: this table is defined twice; rename one of the two"
            ) from error
        raise ConfigurationError(f"{display_path(file)}: is not valid TOML: {error}") from error
    except ValueError as error:  # an integer with more digits than Python converts
        raise ConfigurationError(f"{display_path(file)}: cannot be read: {error}") from error


def tables_in(file: Path, text: str) -> dict[str, Any]:
    """The tables of contracts in a file's text, by name.

    Raises:
        ConfigurationError: when the text is not valid, one of them is not a table, or a table
            beside them is misspelt.
    """
    table: Any = _parsed(file, text)
    for key in _FILES.get(file.name, ("guard",)):
        unknown = set(table) - {key} if key == "guard" and isinstance(table, dict) else ()
        for name in sorted(cast("set[str]", unknown)):
            words = suggest(name, ["guard"])
            raise ConfigurationError(f"{display_path(file)}: unknown table {name}; {words}")
        if not isinstance(table, dict):
            raise ConfigurationError(f"{display_path(file)}: {key} is not a table")
        table = cast("dict[str, Any]", table).get(key, {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"{display_path(file)}: guard is not a table")
    return cast("dict[str, Any]", table)


def _read(file: Path) -> list[Contract]:
    text = file.read_text(encoding="utf-8")
    prefix = ".".join(_FILES.get(file.name, ("guard",)))
    contracts: list[Contract] = []
    for name, table in _tables(file).items():
        line = _line_of(text, f"{prefix}.{name}")
        reader = ContractReader(file, line, name)
        if not isinstance(table, dict):
            raise reader.error("", table, f"a contract must be a table: [{prefix}.NAME]")
        if not _NAME.fullmatch(name):
            raise reader.error("", name, "a contract's name has only letters, digits, -, _ and .")
        contracts.append(reader.contract(cast("dict[str, Any]", table)))
    return contracts


def _line_of(text: str, header: str) -> int:
    """The line of a table's header, or of its first subtable; 1 where it has no header."""
    pattern = re.compile(rf"\s*\[\s*{re.escape(header)}(\.[^\]]*)?\s*\]")
    for number, line in enumerate(text.splitlines(), 1):
        if pattern.match(line.replace('"', "").replace("'", "")):
            return number
    return 1
