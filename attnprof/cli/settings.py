"""Defaults of options, from `ATTNPROF_*` variables and the nearest pyproject.toml that has some.

An option on the command line comes before a variable, a variable before the file, and in the file
`[tool.attnprof.COMMAND]` before `[tool.attnprof]`. Output files are no settings, so that no run
replaces the results of another unasked; `attnprof guard` has none, so that a verdict depends on
nothing but its contracts and its command line.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from attnprof.cli.commands import SUMMARIES
from attnprof.core.errors import AttnprofError, suggest

LISTS = ("len", "window", "dilation", "global_tokens", "kernel", "input")
"""Settings with any number of values."""

TEXTS = (
    *("model", "hidden_size", "num_heads", "kv_heads", "head_dim", "value_dim", "new_tokens"),
    *("batch_size", "dtype", "device", "mode", "scope"),
    *("machine", "max_seconds", "precision", "timeout", "threads", "check_against", "chart"),
    *("vocab_size", "dask"),
)
"""Settings with one value."""

FLAGS = (
    *("no_count", "no_time", "no_memory", "no_peers", "allow_slow", "no_isolation"),
    "allow_other_versions",
    *("causal", "details", "explain"),
)
"""Settings that are true or false."""

OUTPUTS = (
    *("csv", "json", "markdown", "png", "svg", "html"),
    *("resume", "name", "pattern", "formulas", "sweep", "shard", "dry_run"),
)
"""Options that only the command line has."""

OF_CASES = (*LISTS, *TEXTS[: TEXTS.index("machine")], "causal")
"""Settings that select cases; none applies with `--sweep`: a study is the same everywhere."""

OWN_TABLE_ONLY = {"pattern": ("kernel", "len", "window"), "windows": ("model", "kernel")}
"""By command, settings for all commands that it does not take: a picture shows one pattern, where
these select many cases to compare; elsewhere a model is a shape, and kernels are built in."""

NAMES = (*LISTS, *TEXTS, *FLAGS)

PREFIX = "ATTNPROF_"
_FILE = "pyproject.toml"
_TABLE = "tool.attnprof"
_CONTRACTS = "guard"
_COMMANDS = tuple(name for name in SUMMARIES if name != _CONTRACTS)
_WORDS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A default that the user has set.

    Attributes:
        value: text as on the command line, several of them, or whether a flag is set.
        source: where it is set: `ATTNPROF_DTYPE`, or `pyproject.toml [tool.attnprof] dtype`.
    """

    value: str | tuple[str, ...] | bool
    source: str

    def words(self, name: str) -> tuple[str, ...]:
        """The words of the command line for this value of an option."""
        values = () if isinstance(self.value, bool) else self.value
        return (
            f"--{name.replace('_', '-')}",
            *([values] if isinstance(values, str) else values),
        )


class SettingError(AttnprofError):
    """A setting that cannot be used.

    Attributes:
        source: where it is set.
        value: as it was set; None if it is the name that is wrong.
        expected: what would be right.
    """

    exit_code = 2

    def __init__(self, source: str, value: object, expected: str) -> None:
        self.source = source
        self.value = value
        self.expected = expected
        shown = "" if value is None else f" {value}"
        super().__init__(f"{source}{shown}: {expected}")


def read_settings(
    command: str, options: Collection[str], environment: Mapping[str, str], folder: Path | None
) -> dict[str, Setting]:
    """The settings that apply to a command, by the names of its options.

    Args:
        command: its name.
        options: names of its options.
        environment: variables of the process.
        folder: the working directory, where the search for the file begins; it goes on in the
            folders above. None where it has been deleted.

    Raises:
        SettingError: for the first key or variable that is unknown or has a value of a wrong type.
    """
    general: dict[str, Setting] = {}
    own: dict[str, Setting] = {}
    file = None if folder is None else _nearest_file(folder)
    if folder is not None and file is not None:
        general, own = _of_file(file, folder, command, options)
    variables = dict(_of_environment(environment))
    for name in OWN_TABLE_ONLY.get(command, ()):
        general.pop(name, None)
        variables.pop(name, None)
    found = {**general, **own, **variables}
    return {name: setting for name, setting in found.items() if name in options}


def _of_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Setting]]:
    """The variables that are set; an empty one is not.

    Raises:
        SettingError: for an unknown variable, and for a flag that is neither true nor false.
    """
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX) or not text:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if variable != variable.upper() or name not in NAMES:
            raise SettingError(variable, None, _unknown(name, PREFIX, upper=True))
        if name in FLAGS and text.lower() not in _WORDS:
            raise SettingError(variable, text, "must be 1 or 0")
        value: str | tuple[str, ...] | bool = text
        if name in FLAGS:
            value = _WORDS[text.lower()]
        elif name in LISTS:
            value = _values(variable, text)
        yield name, Setting(value, variable)


def _nearest_file(folder: Path) -> Path | None:
    """The pyproject.toml that has settings, here or in the nearest folder above.

    Raises:
        SettingError: when a file that mentions attnprof cannot be read.
    """
    for parent in (folder, *folder.parents):
        file = parent / _FILE
        # Path.is_file raises where a folder above may not be searched.
        if os.path.isfile(file) and set(_table(file, folder)) - {_CONTRACTS}:  # noqa: PTH113
            return file
    return None


def _table(file: Path, folder: Path) -> dict[str, Any]:
    """The table `tool.attnprof` of a file; empty if it has none.

    Raises:
        SettingError: when the file mentions attnprof and cannot be read.
    """
    shown = os.path.relpath(file, folder)
    try:
        content = file.read_bytes()
        if b"attnprof" not in content:
            return {}
        import tomllib

        table: Any = tomllib.loads(content.decode()).get("tool", {})
    except (OSError, ValueError) as error:
        raise SettingError(shown, None, f"cannot be read: {error}") from error
    table = table.get("attnprof", {}) if isinstance(table, dict) else {}
    if not isinstance(table, dict):
        raise SettingError(f"{shown} {_TABLE}", table, "must be a table")
    return cast("dict[str, Any]", table)


def _of_file(
    file: Path, folder: Path, command: str, options: Collection[str]
) -> tuple[dict[str, Setting], dict[str, Setting]]:
    """The settings of a file for all commands, and those for one.

    Raises:
        SettingError: for an unknown key or a wrong type, also in the table of another command.
    """
    table = _table(file, folder)
    tables = {name: table.pop(name) for name in _COMMANDS if name in table}
    table.pop(_CONTRACTS, None)
    shown = os.path.relpath(file, folder)
    place = f"{shown} [{_TABLE}]"
    general = dict(_read_table(table, place, file.parent, folder, (*NAMES, *_COMMANDS)))
    own: dict[str, Setting] = {}
    for name, values in tables.items():
        if not isinstance(values, dict):
            raise SettingError(f"{place} {name}", values, "must be a table")
        known = [key for key in NAMES if key in options] if name == command else NAMES
        place_of_table = f"{shown} [{_TABLE}.{name}]"
        settings = dict(
            _read_table(cast("dict[str, Any]", values), place_of_table, file.parent, folder, known)
        )
        if name == command:
            own = settings
    return general, own


def _read_table(
    table: Mapping[str, Any], place: str, base: Path, folder: Path, known: Collection[str]
) -> Iterator[tuple[str, Setting]]:
    """The settings of one table.

    Args:
        table: values by key.
        place: file and table, for messages.
        base: folder of the file, which paths in it are relative to.
        folder: the working directory.
        known: keys that the table may have.

    Raises:
        SettingError: for an unknown key or a wrong type.
    """
    from attnprof.core.files import kernel_from, path_from

    for name, value in table.items():
        source = f"{place} {name}"
        if name not in known:
            raise SettingError(source, None, _unknown(name, "", known))
        if name in FLAGS:
            if not isinstance(value, bool):
                raise SettingError(source, value, "must be true or false")
            yield name, Setting(value, source)
        elif name in LISTS:
            words = _values(source, value)
            if name == "kernel":
                words = tuple(kernel_from(base, word, folder) for word in words)
            yield name, Setting(words, source)
        else:
            text = _text(source, value)
            yield (
                name,
                Setting(path_from(base, text, folder) if name == "machine" else text, source),
            )


def _values(source: str, value: object) -> tuple[str, ...]:
    """The values of a list: text is split at spaces, as on the command line."""
    if isinstance(value, str):
        words = tuple(value.split())
    elif isinstance(value, list):
        words = tuple(_text(source, item) for item in cast("list[object]", value))
    else:
        words = (_text(source, value),)
    if not words:
        raise SettingError(source, "(empty)", "needs at least one value")
    return words


def _text(source: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SettingError(source, value, "must be text or a number")
    if value == "":
        raise SettingError(source, "(empty)", "needs a value")
    return str(value)


def _unknown(name: str, prefix: str, known: Collection[str] = NAMES, *, upper: bool = False) -> str:
    """What is wrong with a name that is no setting here, and what would be right."""
    if name in OUTPUTS:
        return f"is no setting; give --{name} on the command line"
    if name in NAMES:
        return f"is no option of this command; choose from {', '.join(known)}"
    choices = [f"{prefix}{choice.upper() if upper else choice}" for choice in known]
    return f"unknown; {suggest(f'{prefix}{name.upper() if upper else name}', choices)}"
