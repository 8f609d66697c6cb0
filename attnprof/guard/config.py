"""Reads contracts from `attnprof.toml` and `pyproject.toml`, strictly."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
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
    """All contracts of a project, and where it is.

    Attributes:
        folder: that targets, configs and the lock are relative to.
        contracts: by name, in the order of the files.
        lock_name: of the file that they are locked in: attnprof.toml and pyproject.toml share one.
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
            ConfigurationError: for a name that there is not.
        """
        for name in names:
            if name not in self.contracts:
                words = suggest(name, self.contracts)
                raise ConfigurationError(f"there is no contract {name}; {words}")
        return [self.contracts[name] for name in dict.fromkeys(names) or self.contracts]


def read_configuration(path: Path | None = None, start: Path | None = None) -> Configuration:
    """The contracts of one file, or of the files in the nearest folder upward that has some.

    Args:
        path: of the file.
        start: where the nearest folder is sought from; the current one if None.

    Raises:
        ConfigurationError: without any contract, or for the first thing that is not right.
    """
    if path is not None:
        folder, files = path.resolve().parent, [path]
        if path.name in _FILES:  # one lock is of both
            beside = [path.with_name(name) for name in _FILES if name != path.name]
            files += [file for file in beside if file.is_file()]
        if not path.is_file():
            raise ConfigurationError(f"{path}: there is no such file")
        if path.name not in _FILES and path.suffix != ".toml":
            raise ConfigurationError(f"{path}: contracts stand in a .toml file")
    else:
        folder, files = _nearest(start or Path.cwd())
    contracts: dict[str, Contract] = {}
    for file in files:
        for contract in _read(file):
            other = contracts.get(contract.name)
            if other is not None:
                raise ConfigurationError(
                    f"{display_path(file)}:{contract.line}: guard.{contract.name}: there is one of "
                    f"this name in {display_path(other.file)} already; rename one of the two"
                )
            contracts[contract.name] = contract
    if not contracts:
        where = ", ".join(map(display_path, files)) or str(folder)
        raise ConfigurationError(
            f"{where}: no contract: write one, as [tool.attnprof.guard.NAME] in pyproject.toml or "
            f"[guard.NAME] in attnprof.toml, with target and len"
        )
    if path is None or path.name in _FILES:
        return Configuration(folder, contracts)
    return Configuration(folder, contracts, f"{path.stem}.lock.json")


def _nearest(here: Path) -> tuple[Path, list[Path]]:
    for folder in (here, *here.parents):
        files = [folder / name for name in _FILES if (folder / name).is_file()]
        if any(_tables(file) for file in files):
            return folder, files
    return here, []


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{display_path(file)}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        if "Cannot declare" in str(error):
            raise ConfigurationError(
                f"{display_path(file)}: {error}: this table is defined twice; rename one of the two"
            ) from error
        raise ConfigurationError(f"{display_path(file)}: is no TOML: {error}") from error
    except ValueError as error:  # an integer of more digits than Python reads
        raise ConfigurationError(f"{display_path(file)}: cannot be read: {error}") from error


def _tables(file: Path) -> dict[str, Any]:
    """The tables of contracts; what stands beside them is of no use, and is told.

    Raises:
        ConfigurationError: for what is misspelt or no table.
    """
    table: Any = _parsed(file)
    for key in _FILES.get(file.name, ("guard",)):
        others = set(table) - {key} if key == "guard" and isinstance(table, dict) else ()
        for other in sorted(cast("set[str]", others)):
            words = suggest(other, ["guard"])
            raise ConfigurationError(f"{display_path(file)}: there is no table {other}; {words}")
        if not isinstance(table, dict):
            raise ConfigurationError(f"{display_path(file)}: {key} is no table")
        table = cast("dict[str, Any]", table).get(key, {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"{display_path(file)}: guard is no table")
    return cast("dict[str, Any]", table)


def _read(file: Path) -> list[Contract]:
    text = file.read_text(encoding="utf-8")
    prefix = ".".join(_FILES.get(file.name, ("guard",)))
    contracts: list[Contract] = []
    for name, table in _tables(file).items():
        line = _line_of(text, f"{prefix}.{name}")
        reader = ContractReader(file, line, name)
        if not isinstance(table, dict):
            raise reader.error("", table, f"a contract is a table: [{prefix}.NAME]")
        if not _NAME.fullmatch(name):
            raise reader.error("", name, "a name is made of letters, digits, - and _")
        contracts.append(reader.contract(cast("dict[str, Any]", table)))
    return contracts


def _line_of(text: str, header: str) -> int:
    """The line of a table's header, or of the first thing inside it; 1 where it is written else."""
    wanted = re.compile(rf"\s*\[\s*{re.escape(header)}(\.[^\]]*)?\s*\]")
    for number, line in enumerate(text.splitlines(), 1):
        if wanted.match(line.replace('"', "").replace("'", "")):
            return number
    return 1
