"""The lock file: what was measured when the contracts were last accepted, made to be reviewed."""

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
from attnprof.guard.measurement import Cell, Measured
from attnprof.guard.parts import fold, unfold

SCHEMA = 1
_MEND = "restore it from version control, or measure all anew with `attnprof guard update`"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is locked of one contract.

    Attributes:
        subject: what was measured.
        versions: that it was measured with; an explanation, never a key.
        growth: names of laws, by quantity; empty where none was told.
        cells: costs by length, as text.
        macs: by `place operator`; costs in the order of the lengths.
        calls: as `macs`.
        bytes: at the peak, by `place operator dtype`, as `macs`.
        params: by module, as `macs`.
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
        """Costs of the parts by length: of one kind."""
        lengths = sorted(map(int, self.cells))
        rows = cast("dict[str, tuple[int, ...]]", getattr(self, kind))
        return {part: dict(zip(lengths, row, strict=True)) for part, row in unfold(rows).items()}


@dataclass(frozen=True, slots=True)
class _File:
    schema: int
    contracts: dict[str, Entry]


def entry_of(subject: Mapping[str, object], measured: Measured) -> Entry:
    """What is to be locked of what was measured."""
    lengths = sorted(measured.cells)

    def rows(parts: Mapping[str, Mapping[int, int]]) -> dict[str, tuple[int, ...]]:
        kept = {part: tuple(at.get(n, 0) for n in lengths) for part, at in parts.items()}
        return fold({part: row for part, row in kept.items() if any(row)})

    working = {part for part, at in measured.macs.items() if any(at.values())}
    return Entry(
        subject=dict(subject),
        versions=measured.versions,
        growth={q: str(seen.law) if seen.law else "" for q, seen in measured.growth.items()},
        cells={str(n): measured.cells[n] for n in lengths},
        macs=rows(measured.macs),
        calls=rows({part: at for part, at in measured.calls.items() if part in working}),
        bytes=rows(measured.bytes),
        params=rows(measured.params),
        uncounted=measured.uncounted,
    )


def read_lock(path: Path) -> dict[str, Entry] | None:
    """The entries by contract; None where there is no file.

    Raises:
        ConfigurationError: when it is damaged, or of a newer schema.
    """
    shown = display_path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedError(f"{shown}: cannot be read: {error}; {_MEND}") from error
    if any(line.startswith(("<<<<<<<", ">>>>>>>", "=======")) for line in text.splitlines()):
        raise DamagedError(f"{shown}: has conflict marks of a merge; resolve them, or {_MEND}")
    try:
        content = parse_object(text)
        schema = content.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise ConfigurationError(
                f"{shown}: is of schema {schema}, this attnprof reads {SCHEMA}: use a newer one"
            )
        if schema != SCHEMA:
            raise UnexpectedError(f"schema is not {SCHEMA}")
        entries = read_as(_File, content).contracts
        for name, entry in entries.items():
            _check(name, entry)
    except (UnexpectedError, ValueError) as error:
        raise DamagedError(f"{shown}: {error}; {_MEND}") from error
    return entries


class DamagedError(ConfigurationError):
    """A lock that `update` of all contracts may replace."""


def _check(name: str, entry: Entry) -> None:
    place = f"contracts.{name}"
    if list(entry.cells) != [str(length) for length in _lengths(entry)]:
        raise UnexpectedError(f"{place}.cells are not those of subject.len")
    for quantity, law in entry.growth.items():
        try:
            is_law = quantity in GROWING and (not law or bool(parse_law(law)))
        except ValueError:
            is_law = False
        if not is_law:
            raise UnexpectedError(f"{place}.growth.{quantity} is no law")
    for rows in (entry.macs, entry.calls, entry.bytes, entry.params):
        for part, row in rows.items():
            if len(row) != len(entry.cells):
                raise UnexpectedError(f"{place}: {part} has not one cost for each length")
        unfold(rows)


def _lengths(entry: Entry) -> list[object]:
    lengths = entry.subject.get("len")
    return cast("list[object]", lengths) if isinstance(lengths, list) else []


def write_lock(path: Path, change: Callable[[dict[str, Entry] | None], dict[str, Entry]]) -> None:
    """Replace the lock with what `change` makes of it, while nobody else does.

    Raises:
        ConfigurationError: when it cannot be written, or what `change` raises.
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
    """JSON with a line for each cell and each part, so that a diff shows which changed."""
    if isinstance(value, dict) and value:
        items = cast("dict[str, Any]", value)
        if (
            not all(isinstance(item, int) for item in items.values())
            or not items
            or "schema" in items
        ):
            inner = indent + "  "
            lines = [
                f"{inner}{json.dumps(k, ensure_ascii=False)}: {_lines(v, inner)}"
                for k, v in items.items()
            ]
            return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return json.dumps(value, ensure_ascii=False)
