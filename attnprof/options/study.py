"""Reads a study: the TOML file of `--sweep`, a grid of cases with excludes and includes."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, cast

from attnprof.core.errors import UsageError, suggest
from attnprof.core.files import kernel_from
from attnprof.options import GridOptions

Scalar = str | int | bool

KEYS = tuple(GridOptions.__annotations__)
"""Keys of a grid: the options that select kernels and workloads."""

LISTS = ("len", "window", "pattern", "dilation", "global_tokens", "kernel", "input")
"""Keys whose values are compared with one another; each value of another key makes groups of its
own."""

SCALARS = tuple(key for key in KEYS if key not in LISTS)

_OF_THE_RUN = (
    *("max_seconds", "precision", "timeout", "threads", "allow_slow", "no_isolation"),
    *("no_time", "no_count", "no_memory", "check_against", "machine", "shard", "resume"),
    *("csv", "json", "markdown", "png", "svg", "html", "chart", "details", "explain"),
)
"""Options of `compare` that a study does not have."""

_GRID, _INCLUDE, _EXCLUDE = "grid", "include", "exclude"
_TABLES = (_GRID, _INCLUDE, _EXCLUDE)
_OPTION = "sweep"
MAX_COMBINATIONS = 100_000
"""A grid with more combinations than this is taken for a typing mistake."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a study.

    Attributes:
        file: the study, for messages.
        line: of the table's header, from 1.
        name: `grid`, `include 1`, ...
        values: one or several for each key, each once.
        lines: the line of each key.
    """

    file: Path
    line: int
    name: str
    values: Mapping[str, tuple[Scalar, ...]]
    lines: Mapping[str, int]

    def error(self, key: str, value: object, expected: str) -> UsageError:
        """The error for the value of a key; a key that is empty is the table itself."""
        setting = self.name
        if key:
            setting += f".{key}" if self.name == _GRID else f", {key}"
        shown = "" if value is None else f" {_in_toml(value)}"
        position = f"{self.file}:{self.lines.get(key, self.line)}"
        return UsageError(_OPTION, position, f"{setting}{shown}: {expected}")

    def rejected(self, error: UsageError) -> UsageError:
        """The error for a value that an option refused."""
        is_own = error.argument in self.values
        name = error.argument if is_own else error.argument.replace("_", "-")
        if is_own:
            return self.error(name, error.value, error.expected)
        return self.error("", None, f"{name} {error.value}: {error.expected}")

    def texts(self, key: str) -> list[str]:
        """The values of a key as on the command line, where each is a value of its own."""
        return [str(value) for value in self.values.get(key, ())]

    def combinations(self) -> list[GridOptions]:
        """The options of each combination of the scalars, in the order in which they are listed.

        Raises:
            UsageError: where there are too many.
        """
        lists = {key: self.texts(key) for key in LISTS if key in self.values}
        scalars = [key for key in SCALARS if key in self.values]
        count = 1
        for key in scalars:
            count *= len(self.values[key])
        if count > MAX_COMBINATIONS:
            raise self.error("", None, f"has {count:,} combinations; {MAX_COMBINATIONS:,} at most")
        return [
            cast("GridOptions", {**lists, **dict(zip(scalars, chosen, strict=True))})
            for chosen in product(*(self.values[key] for key in scalars))
        ]


@dataclass(frozen=True, slots=True)
class Study:
    """A study as its file has it.

    Attributes:
        grid: the grid.
        includes: further grids.
        excludes: cases that the grid leaves out.
    """

    grid: Table
    includes: tuple[Table, ...]
    excludes: tuple[Table, ...]


def read_study(path: str | os.PathLike[str]) -> Study:
    """The study in a file; its values are not read as options yet.

    Raises:
        UsageError: when it cannot be read, and for the first key or value that no study has.
    """
    file = Path(path)
    text = _content(file)
    document = _parsed(file, text)
    for name in document:
        if name not in _TABLES:
            line = _line_of(text.splitlines(), re.escape(name))
            expected = f"{name}: unknown; {suggest(name, _TABLES)}"
            raise UsageError(_OPTION, f"{file}:{line}", expected)
    if _GRID not in document:
        raise UsageError(_OPTION, file, "has no table [grid], such as [grid] len = [512, 1024]")
    (grid,) = _tables(file, text, _GRID, [document[_GRID]])
    includes = tuple(_tables(file, text, _INCLUDE, document.get(_INCLUDE, [])))
    excludes = tuple(_tables(file, text, _EXCLUDE, document.get(_EXCLUDE, [])))
    return Study(grid, includes, excludes)


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(_OPTION, file, "no such file") from error
    except OSError as error:
        raise UsageError(_OPTION, file, f"cannot be read ({error.strerror})") from error
    except ValueError as error:  # not UTF-8, or a path that contains a zero byte
        raise UsageError(_OPTION, file, "is not text in UTF-8") from error


def _parsed(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(_OPTION, file, f"is not valid TOML: {error}") from error


def _tables(file: Path, text: str, name: str, values: Any) -> Iterator[Table]:
    """The tables of one name, checked.

    Raises:
        UsageError: for the first of them that is none, and for an empty one.
    """
    is_array = name != _GRID
    if not isinstance(values, list):
        expected = f"{name}: must be a list of tables, each below [[{name}]]"
        raise UsageError(_OPTION, f"{file}:{_line_of(text.splitlines(), name)}", expected)
    for number, value in enumerate(cast("list[object]", values), 1):
        yield _table(file, text, f"{name} {number}" if is_array else name, value)


def _table(file: Path, text: str, name: str, value: object) -> Table:
    lines = text.splitlines()
    start, end = _extent(lines, name)
    bare = Table(file, start, name, {}, {})
    if not isinstance(value, dict):
        raise bare.error("", None, "must be a table")
    table = cast("dict[str, object]", value)
    known = {key: _line_of(lines, re.escape(key), start, end) for key in table}
    bare = Table(file, start, name, {}, known)
    if not table:
        raise bare.error("", None, "is empty; name options of compare, such as len = [512, 1024]")
    values: dict[str, tuple[Scalar, ...]] = {}
    for key, content in table.items():
        if key not in KEYS:
            option = f"--{key.replace('_', '-')}"
            raise bare.error(
                key,
                None,
                f"selects no cases; give {option} on the command line"
                if key in _OF_THE_RUN
                else f"unknown; {suggest(key, KEYS)}",
            )
        values[key] = _values(bare, key, content)
    return Table(file, start, name, values, known)


def _values(table: Table, key: str, value: object) -> tuple[Scalar, ...]:
    """One or several values of a key, each once.

    Raises:
        UsageError: for a value of another type, and where there is none.
    """
    several = cast("list[object]", value) if isinstance(value, list) else [value]
    if not several:
        raise table.error(key, "[]", "needs at least one value")
    for one in several:
        if key == "causal" and not isinstance(one, bool):
            raise table.error(key, one, "must be true or false, or a list of them")
        if key != "causal" and (isinstance(one, bool) or not isinstance(one, str | int)):
            raise table.error(key, one, "must be text or a whole number, or a list of them")
        if one == "":
            raise table.error(key, '""', "needs a value")
    words = cast("list[Scalar]", several)
    if key == "kernel":
        words = [kernel_from(table.file.parent, str(word), Path()) for word in words]
    return tuple(dict.fromkeys(words))


def _in_toml(value: object) -> str:
    """A value as a study has it; text without its quotes where it stands alone."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        words = (_quoted(one) for one in cast("list[object]", value))
        return f"[{', '.join(words)}]"
    if isinstance(value, dict):
        pairs = (f"{key} = {_quoted(one)}" for key, one in cast("dict[str, object]", value).items())
        return f"{{ {', '.join(pairs)} }}"
    return str(value)


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else _in_toml(value)


def _extent(lines: list[str], name: str) -> tuple[int, int]:
    """The lines of a table: of its header, from 1, and of the next one; 0 where it has none."""
    bare, _, number = name.partition(" ")
    header = re.compile(rf"\s*\[+\s*{bare}\s*\]+")
    found = [number for number, line in enumerate(lines, 1) if header.match(line)]
    position = int(number or 1) - 1
    if position >= len(found):
        return _line_of(lines, bare), len(lines)
    start = found[position]
    later = (number for number in range(start + 1, len(lines) + 1) if _is_header(lines[number - 1]))
    return start, next(later, len(lines) + 1)


def _is_header(line: str) -> bool:
    return re.match(r"\s*\[+\s*(grid|include|exclude)\s*\]+", line) is not None


def _line_of(lines: list[str], key: str, start: int = 0, end: int = 0) -> int:
    """The line of a key, from 1; that of its table where it is not found."""
    pattern = re.compile(rf"""[\s\[]*(?:\w+\s*\.\s*)?["']?{key}["']?\s*[\].=]""")
    for number, line in enumerate(lines[start : end or None], start + 1):
        if pattern.match(line):
            return number
    return start or 1
