"""Reads one contract's table, strictly: what is wrong is told by file, line and key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from attnprof.core.errors import UsageError, suggest
from attnprof.core.growth.laws import LAW_FORMS, parse_law
from attnprof.core.units import parse_lengths
from attnprof.guard.contract import (
    ALLOWANCE_FORMS,
    BUDGET_FORMS,
    DEFAULT_ALLOWANCES,
    GROWING,
    QUANTITIES,
    ConfigurationError,
    Contract,
    ContractOptions,
    Quantity,
    TimeLimit,
    parse_allowance,
    parse_budget,
)
from attnprof.guard.formatting import display_path

_OPTIONS = tuple(ContractOptions.__annotations__)
_LONGEST = 2**32
_KEYS = (
    *("target", "hf", "len", "growth", "macs", "params", "peak_bytes", "max", "time"),
    *("uncounted", *_OPTIONS),
)
_ANYONES = ("model", "hidden_size", "num_heads", "batch_size", "dtype", "mode")
"""Options that do not depend on the target."""

_TABLES = {
    "growth": 'a law for each quantity: growth.macs = "linear"',
    "max": 'a limit for each quantity: max.peak_bytes = "512 MiB"',
    "time": 'time = { reference = "bert-sdpa", at = 4096, max = 0.6 }',
}


@dataclass(frozen=True, slots=True)
class ContractReader:
    """Reads one contract; errors name its file, line and key."""

    file: Path
    line: int
    name: str

    def error(self, key: str, value: object, expected: str) -> ConfigurationError:
        """The error for a value of a key."""
        place = f"guard.{self.name}" + f".{key}" * bool(key)
        said = f" = {value!r}" if value is not None else ""
        where = f"{display_path(self.file)}:{self._line_of(key)}"
        return ConfigurationError(f"{where}: {place}{said}: {expected}")

    def _line_of(self, key: str) -> int:
        """The line of a key; that of the table where it is not to be found."""
        words = r"\s*\.\s*".join(map(re.escape, key.split(".")))
        wanted = re.compile(rf"\s*{words}\s*[.=]")
        lines = self.file.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines[self.line :], self.line + 1):
            if line.lstrip().startswith("["):
                break
            if key and wanted.match(line.replace('"', "").replace("'", "")):
                return number
        outer = key.rpartition(".")[0]
        return self._line_of(outer) if outer else self.line

    def contract(self, table: dict[str, Any]) -> Contract:
        """The contract that a table is.

        Raises:
            ConfigurationError: for the first thing in it that is not right.
        """
        if "device" in table:
            raise self.error(
                "device", table["device"], "contracts are counted without one; leave it out"
            )
        self._check_keys(table, _KEYS, "")
        contract = self._read(table)
        self._check_options(contract)
        return contract

    def _check_options(self, contract: Contract) -> None:
        """What can be told without building what is the user's own, nor torch."""
        from attnprof import kernels
        from attnprof.guard.cases import case_of, key_of

        options, target = dict(contract.options), contract.target
        if kernels.is_custom(target):
            target = "bert-sdpa"
            options = {name: options[name] for name in _ANYONES if name in options}
        try:
            case_of(target, contract.lengths[0], options)
        except UsageError as error:
            raise self.error(key_of(error, options), error.value, error.expected) from error

    def _read(self, table: dict[str, Any]) -> Contract:
        return Contract(
            name=self.name,
            file=self.file,
            line=self.line,
            target=self._target(table),
            lengths=self._lengths(table.get("len")),
            options=self._options(table),
            growth=self._each(table, "growth", GROWING, LAW_FORMS, _law),
            allowances={q: self._allowance(table, q) for q in QUANTITIES},
            budgets={
                quantity: self._value(
                    f"max.{quantity}",
                    value,
                    BUDGET_FORMS[quantity],
                    lambda value, quantity=quantity: parse_budget(quantity, value),
                )
                for quantity, value in self._table(table, "max", QUANTITIES).items()
            },
            time=self._time(table),
            forbids_uncounted=self._uncounted(table),
        )

    def _check_keys(self, table: dict[str, Any], known: Iterable[str], inside: str) -> None:
        for key in table:
            if key not in known:
                full = f"{inside}.{key}" if inside else key
                raise self.error(full, None, f"there is no such key; {suggest(key, known)}")

    def _target(self, table: dict[str, Any]) -> str:
        named = [key for key in ("target", "hf") if key in table]
        if len(named) != 1:
            raise self.error(
                "target",
                None,
                'name what is measured, as target = "pkg.mod:Net", a kernel\'s name, or '
                'hf = "model.json"' + ", one of the two" * bool(named),
            )
        value = table[named[0]]
        if not isinstance(value, str) or not value.strip():
            raise self.error(named[0], value, "is a text")
        value = value.strip()
        if named[0] == "hf":
            path = self.file.resolve().parent / value.partition("::")[0].partition("(")[0]
            if not path.exists():
                raise self.error("hf", value, f"there is no {display_path(path)}")
            return value if ".json" in value or "/" in value else f"./{value}"
        self._check_reference("target", value)
        return value

    def _check_reference(self, key: str, value: str) -> None:
        from attnprof import kernels
        from attnprof.kernels.custom.reference import is_reference, parse_reference

        try:
            if is_reference(value):
                parse_reference(value)
            elif value not in kernels.names():
                words = suggest(value, kernels.names())
                raise self.error(key, value, f"neither pkg.mod:Net nor a kernel; {words}")
        except UsageError as error:
            raise self.error(key, value, error.expected) from error

    def _lengths(self, value: object) -> tuple[int, ...]:
        words: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
        forms = 'lengths in tokens: [1024, 2048], "4k" or "512:8192:x2"'
        if value is None or not words:
            raise self.error("len", value, forms)
        lengths: set[int] = set()
        for word in words:
            if isinstance(word, bool) or not isinstance(word, int | str):
                raise self.error("len", word, forms)
            try:
                lengths.update(parse_lengths(str(word)))
            except UsageError as error:
                raise self.error("len", word, error.expected) from error
        if max(lengths) > _LONGEST:
            raise self.error("len", max(lengths), f"lengths up to {_LONGEST:,} tokens")
        return tuple(sorted(lengths))

    def _options(self, table: dict[str, Any]) -> dict[str, str | int]:
        options: dict[str, str | int] = {}
        for key in _OPTIONS:
            if key not in table:
                continue
            value = table[key]
            if isinstance(value, bool) or not isinstance(value, str | int):
                raise self.error(key, value, f"one value, as for --{key.replace('_', '-')}")
            options[key] = value
        return options

    def _table(self, table: dict[str, Any], key: str, known: Iterable[Any]) -> dict[Any, Any]:
        value = table.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, value, _TABLES[key])
        self._check_keys(cast("dict[str, Any]", value), known, key)
        return cast("dict[Any, Any]", value)

    def _each(
        self,
        table: dict[str, Any],
        key: str,
        known: Iterable[str],
        forms: str,
        parse: Callable[[Any], Any],
    ) -> dict[Quantity, Any]:
        return {
            name: self._value(f"{key}.{name}", value, forms, parse)
            for name, value in self._table(table, key, known).items()
        }

    def _value(self, key: str, value: Any, forms: str, parse: Callable[[Any], Any]) -> Any:
        try:
            return parse(value)
        except ValueError:
            raise self.error(key, value, forms) from None

    def _allowance(self, table: dict[str, Any], quantity: Quantity) -> Any:
        value = table.get(quantity, DEFAULT_ALLOWANCES[quantity])
        if not isinstance(value, str):
            raise self.error(quantity, value, ALLOWANCE_FORMS)
        return self._value(quantity, value, ALLOWANCE_FORMS, parse_allowance)

    def _time(self, table: dict[str, Any]) -> TimeLimit | None:
        if "time" not in table:
            return None
        given = self._table(table, "time", ("reference", "at", "max"))
        reference, at, limit = (given.get(key) for key in ("reference", "at", "max"))
        if not isinstance(reference, str) or not reference:
            raise self.error("time.reference", reference, 'what time is a ratio to: "bert-sdpa"')
        self._check_reference("time.reference", reference)
        if isinstance(at, bool) or not isinstance(at, int) or not 0 < at <= _LONGEST:
            raise self.error("time.at", at, "a length in tokens: 4096")
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < 1e6:
            raise self.error("time.max", limit, "a ratio above 0: 0.6")
        return TimeLimit(reference=reference, at=at, max=float(limit))

    def _uncounted(self, table: dict[str, Any]) -> bool:
        value = table.get("uncounted", "forbid")
        if value not in ("forbid", "allow"):
            raise self.error("uncounted", value, '"forbid" or "allow"')
        return value == "forbid"


def _law(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(value)
    return parse_law(value)
