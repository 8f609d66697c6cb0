"""The lock file: the costs that were last accepted, in a format that is easy to review."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from attnprof.core.files import lock_exclusively, replace_file
from attnprof.core.growth.laws import parse_law
from attnprof.core.typed_json import UnexpectedError, parse_object, read_as
from attnprof.guard.contract import GROWING, ConfigurationError, PartKind
from attnprof.guard.formatting import display_path
from attnprof.guard.measurement import Cell, ContractCosts
from attnprof.guard.parts import fold, unfold

SCHEMA = 1
_REMEDY = "restore it from version control, or re-measure everything with `attnprof guard update`"


@dataclass(frozen=True, slots=True)
class Entry:
    """The locked costs of one contract.

    Attributes:
        subject: what was measured: the target, the lengths and the options.
        versions: versions of packages that counts depend on; they explain changes but break no
            contract.
        growth: names of laws, by quantity; empty where the law could not be determined.
        cells: costs by length; keys are lengths as text.
        macs: MACs by `module operator`, in the order of the lengths.
        calls: calls of operators, like `macs`.
        bytes: bytes at the peak by `module operator dtype`, in the order of the lengths.
        params: parameters by module, in the order of the lengths.
        uncounted: operators without a MAC formula, with their calls.
    """

    subject: dict[str, object]
    versions: dict[str, str]
    growth: dict[str, str]
    cells: dict[str, Cell]
    macs: dict[str, tuple[int, ...]]
    calls: dict[str, tuple[int, ...]]
    bytes: dict[str, tuple[int, ...]]
    params: dict[str, tuple[int, ...]]
    uncounted: dict[str, int]

    def parts(self, kind: PartKind) -> dict[str, dict[int, int]]:
        """Costs of one kind of parts, by part and length."""
        lengths = sorted(map(int, self.cells))
        rows = cast("dict[str, tuple[int, ...]]", getattr(self, kind))
        return {part: dict(zip(lengths, row, strict=True)) for part, row in unfold(rows).items()}


@dataclass(frozen=True, slots=True)
class _File:
    schema: int
    contracts: dict[str, Entry]


def entry_of(subject: Mapping[str, object], measured: ContractCosts) -> Entry:
    """The entry that locks measured costs.

    Args:
        subject: what was measured.
        measured: the costs, of a measurement without a problem.
    """
    lengths = sorted(measured.cells)

    def rows(parts: Mapping[str, Mapping[int, int]]) -> dict[str, tuple[int, ...]]:
        by_part = {part: tuple(costs.get(n, 0) for n in lengths) for part, costs in parts.items()}
        return fold({part: row for part, row in by_part.items() if any(row)})

    with_macs = {part for part, costs in measured.macs.items() if any(costs.values())}
    return Entry(
        subject=dict(subject),
        versions=measured.versions,
        growth={name: str(growth.law or "") for name, growth in measured.growth.items()},
        cells={str(n): measured.cells[n] for n in lengths},
        macs=rows(measured.macs),
        calls=rows({part: costs for part, costs in measured.calls.items() if part in with_macs}),
        bytes=rows(measured.bytes),
        params=rows(measured.params),
        uncounted=measured.uncounted,
    )


def read_lock(path: Path) -> dict[str, Entry] | None:
    """The entries by contract; None if there is no file.

    Raises:
        DamagedError: when the file cannot be read or is not a valid lock.
        ConfigurationError: when it has a newer schema.
    """
    name = display_path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(f"{name}: cannot be read: {error}; {_REMEDY}") from error
    if any(line.startswith(("<<<<<<<", ">>>>>>>", "=======")) for line in text.splitlines()):
        raise DamagedError(f"{name}: has merge conflict markers; resolve them, or {_REMEDY}")
    try:
        content = parse_object(text)
        schema = content.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise ConfigurationError(
                f"{name}: has schema {schema}, but this attnprof reads {SCHEMA}; upgrade attnprof"
            )
        if schema != SCHEMA:
            raise UnexpectedError(f"schema must be {SCHEMA}")
        entries = read_as(_File, content).contracts
        for contract, entry in entries.items():
            check_entry(contract, entry)
    except (UnexpectedError, ValueError) as error:
        raise DamagedError(f"{name}: {error}; {_REMEDY}") from error
    return entries


class DamagedError(ConfigurationError):
    """A lock that cannot be read; `update` of all contracts may replace it."""


def check_entry(contract: str, entry: Entry) -> None:
    """Check what types alone do not express.

    Raises:
        UnexpectedError: when lengths, laws or rows of an entry do not match.
        ValueError: for a part that is not a valid range of layers.
    """
    key = f"contracts.{contract}"
    if list(entry.cells) != [str(length) for length in _lengths(entry)]:
        raise UnexpectedError(f"{key}.cells does not match subject.len")
    for quantity, law in entry.growth.items():
        try:
            is_law = quantity in GROWING and (not law or bool(parse_law(law)))
        except ValueError:
            is_law = False
        if not is_law:
            raise UnexpectedError(f"{key}.growth.{quantity} is not a growth law")
    for rows in (entry.macs, entry.calls, entry.bytes, entry.params):
        for part, row in rows.items():
            if len(row) != len(entry.cells):
                raise UnexpectedError(f"{key}: {part} must have one cost per length")
        unfold(rows)


def _lengths(entry: Entry) -> list[object]:
    lengths = entry.subject.get("len")
    return cast("list[object]", lengths) if isinstance(lengths, list) else []


def write_lock(path: Path, change: Callable[[dict[str, Entry] | None], dict[str, Entry]]) -> None:
    """Replace the lock with what `change` returns for its entries, while no other process may.

    Raises:
        ConfigurationError: when it cannot be written, or when `change` raises it.
    """
    try:
        with _exclusive_lock(path.parent):
            entries = change(_read_or_none(path))
            replace_file(path, _text(entries).encode())
    except OSError as error:
        raise ConfigurationError(
            f"{display_path(path)}: cannot be written: {error.strerror}"
        ) from error


def _read_or_none(path: Path) -> dict[str, Entry] | None:
    try:
        return read_lock(path)
    except DamagedError:
        return None


@contextmanager
def _exclusive_lock(folder: Path) -> Generator[None]:
    """Makes other processes wait that change a lock in this folder.

    Without effect on systems that have no file locks.
    """
    if os.name == "nt":  # a folder cannot be opened there
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lock_exclusively(descriptor, waits=True)
        yield
    finally:
        os.close(descriptor)


def _text(entries: Mapping[str, Entry]) -> str:
    contracts = {name: _plain(entries[name]) for name in sorted(entries)}
    return _lines({"schema": SCHEMA, "contracts": contracts}, "") + "\n"


def _plain(entry: Entry) -> dict[str, Any]:
    plain = asdict(entry)
    plain["cells"] = {key: plain["cells"][key] for key in sorted(plain["cells"], key=int)}
    for key in ("subject", "versions", "growth", "macs", "calls", "bytes", "params", "uncounted"):
        plain[key] = dict(sorted(plain[key].items()))
    return plain


def _lines(value: Any, indent: str) -> str:
    """JSON with one line per cell and per part, so that a diff shows which of them changed."""
    if isinstance(value, dict) and value:
        items = cast("dict[str, Any]", value)
        if (
            not all(isinstance(item, int) for item in items.values())
            or not items
            or "schema" in items
        ):
            inner = indent + "  "
            lines = [
                f"{inner}{json.dumps(key, ensure_ascii=False)}: {_lines(item, inner)}"
                for key, item in items.items()
            ]
            return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return json.dumps(value, ensure_ascii=False)
