"""Reads one contract's table; each error names the file, the line and the key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from attnprof.core.built_in_mask import parse_built_in
from attnprof.core.errors import UsageError, suggest
from attnprof.core.growth.laws import LAW_FORMS, parse_law
from attnprof.core.lengths import parse_lengths
from attnprof.guard.contract import (
    ALLOWANCE_FORMS,
    BUDGET_FORMS,
    DEFAULT_ALLOWANCES,
    EXECUTED_OVER_USEFUL,
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
_MAX_LENGTH = 2**32
_KEYS = (
    *("target", "hf", "len", "growth", "macs", "params", "peak_bytes", "max", "time"),
    *("uncounted", *_OPTIONS),
)
TARGET_INDEPENDENT = (
    *("model", "hidden_size", "num_heads", "kv_heads", "head_dim", "value_dim", "causal"),
    *("batch_size", "dtype", "mode", "new_tokens"),
)
"""Options that do not depend on the target."""

_LENGTH_FORMS = 'must be lengths in tokens, such as [1024, 2048], "4k" or "512:8192:x2"'
_TARGET_FORMS = 'target = "pkg.mod:Net" or a kernel\'s name, or hf = "model.json"'
_TABLES = {
    "growth": 'must be a table with a law per quantity, such as growth.macs = "linear"',
    "max": 'must be a table with a limit per quantity, such as max.peak_bytes = "512 MiB"',
    "time": 'must be a table, such as time = { reference = "bert-sdpa", at = 4096, max = 0.6 }',
}


@dataclass(frozen=True, slots=True)
class ContractReader:
    """Reads one contract; errors name its file, line and key.

    Attributes:
        file: the file that defines the contract.
        line: the line of the contract's table, from 1.
        name: the contract's name.
    """

    file: Path
    line: int
    name: str

    def error(self, key: str, value: object, expected: str) -> ConfigurationError:
        """The error for a value of a key.

        Args:
            key: the key below the contract's table; empty for the table itself.
            value: the value that is wrong; None where it is missing or says nothing.
            expected: what would be right.
        """
        setting = f"guard.{self.name}.{key}" if key else f"guard.{self.name}"
        if value is not None:
            setting += f" = {value!r}"
        position = f"{display_path(self.file)}:{self._line_of(key)}"
        return ConfigurationError(f"{position}: {setting}: {expected}")

    def _line_of(self, key: str) -> int:
        """The line of a key, or of the table if the key is not found."""
        dotted = r"\s*\.\s*".join(map(re.escape, key.split(".")))
        pattern = re.compile(rf"\s*{dotted}\s*[.=]")
        lines = self.file.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines[self.line :], self.line + 1):
            if line.lstrip().startswith("["):
                break
            if key and pattern.match(line.replace('"', "").replace("'", "")):
                return number
        outer = key.rpartition(".")[0]
        return self._line_of(outer) if outer else self.line

    def contract(self, table: dict[str, Any]) -> Contract:
        """Read a contract's table.

        Raises:
            ConfigurationError: for the first error in it.
        """
        if "device" in table:
            raise self.error(
                "device", table["device"], "contracts are counted without a device; remove it"
            )
        self._check_keys(table, _KEYS, "")
        contract = self._read(table)
        self._check_options(contract)
        return contract

    def _check_options(self, contract: Contract) -> None:
        """Check options without torch and without building a custom kernel."""
        from attnprof import kernels
        from attnprof.guard.cases import case_of, key_of

        options, target = dict(contract.options), contract.target
        if kernels.is_custom(target):
            target = "bert-sdpa"
            options = {name: options[name] for name in TARGET_INDEPENDENT if name in options}
        if "pattern" in options and parse_built_in(str(options["pattern"])) is None:
            del options["pattern"]  # user code runs only where it is measured
        try:
            case_of(target, contract.lengths[0], options)
        except UsageError as error:
            raise self.error(key_of(error, options), error.value, error.expected) from error

    def _read(self, table: dict[str, Any]) -> Contract:
        """The contract, with each key's value read by itself."""
        return Contract(
            name=self.name,
            file=self.file,
            line=self.line,
            target=self._target(table),
            lengths=self._lengths(table.get("len")),
            options=self._options(table),
            growth=self._each(table, "growth", GROWING, f"must be {LAW_FORMS}", _law),
            allowances={q: self._allowance(table, q) for q in QUANTITIES},
            budgets=self._budgets(table),
            executed_over_useful=self._executed_over_useful(table),
            time=self._time(table),
            forbids_uncounted=self._uncounted(table),
        )

    def _check_keys(self, table: dict[str, Any], known: Iterable[str], inside: str) -> None:
        for key in table:
            if key not in known:
                full = f"{inside}.{key}" if inside else key
                raise self.error(full, None, f"unknown key; {suggest(key, known)}")

    def _target(self, table: dict[str, Any]) -> str:
        keys = [key for key in ("target", "hf") if key in table]
        if not keys:
            raise self.error("target", None, f"is missing; set {_TARGET_FORMS}")
        if len(keys) > 1:
            raise self.error("target", None, f"set target or hf, not both: {_TARGET_FORMS}")
        (key,) = keys
        value = table[key]
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, value, "must be a string")
        value = value.strip()
        if key == "hf":
            return self._hf_config(value)
        self._check_reference("target", value)
        return value

    def _hf_config(self, value: str) -> str:
        """A Hugging Face config as a target: a path that no kernel's name is confused with."""
        path = self.file.resolve().parent / value.partition("::")[0].partition("(")[0]
        if not path.exists():
            raise self.error("hf", value, f"no such file: {display_path(path)}")
        return value if ".json" in value or "/" in value else f"./{value}"

    def _check_reference(self, key: str, value: str) -> None:
        from attnprof import kernels
        from attnprof.kernels.custom.reference import is_reference, parse_reference

        try:
            if is_reference(value):
                parse_reference(value)
            elif value not in kernels.names():
                words = suggest(value, kernels.names())
                raise self.error(key, value, f"must be pkg.mod:Net or a kernel's name; {words}")
        except UsageError as error:
            raise self.error(key, value, error.expected) from error

    def _lengths(self, value: object) -> tuple[int, ...]:
        words: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
        if value is None or not words:
            raise self.error("len", value, _LENGTH_FORMS)
        lengths: set[int] = set()
        for word in words:
            if isinstance(word, bool) or not isinstance(word, int | str):
                raise self.error("len", word, _LENGTH_FORMS)
            try:
                lengths.update(parse_lengths(str(word)))
            except UsageError as error:
                raise self.error("len", word, error.expected) from error
        if max(lengths) > _MAX_LENGTH:
            raise self.error("len", max(lengths), f"must be {_MAX_LENGTH:,} tokens or less")
        return tuple(sorted(lengths))

    def _options(self, table: dict[str, Any]) -> dict[str, str | int]:
        options: dict[str, str | int] = {}
        for key in _OPTIONS:
            if key not in table:
                continue
            value = table[key]
            if isinstance(value, bool) or not isinstance(value, str | int):
                raise self.error(key, value, f"must be one value, as for --{key.replace('_', '-')}")
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

    def _budgets(self, table: dict[str, Any]) -> dict[Quantity, int]:
        limits = self._table(table, "max", (*QUANTITIES, EXECUTED_OVER_USEFUL))
        return {
            quantity: self._value(
                f"max.{quantity}",
                limits[quantity],
                BUDGET_FORMS[quantity],
                lambda value, quantity=quantity: parse_budget(quantity, value),
            )
            for quantity in QUANTITIES
            if quantity in limits
        }

    def _executed_over_useful(self, table: dict[str, Any]) -> float | None:
        limit = table.get("max", {}).get(EXECUTED_OVER_USEFUL)
        if limit is None:
            return None
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 1 <= limit < 1e9:
            key = f"max.{EXECUTED_OVER_USEFUL}"
            raise self.error(key, limit, "must be a ratio of at least 1, such as 1.5")
        return float(limit)

    def _time(self, table: dict[str, Any]) -> TimeLimit | None:
        if "time" not in table:
            return None
        limits = self._table(table, "time", ("reference", "at", "max"))
        reference, at, limit = (limits.get(key) for key in ("reference", "at", "max"))
        if not isinstance(reference, str) or not reference:
            expected = 'must name the kernel to time against, such as "bert-sdpa"'
            raise self.error("time.reference", reference, expected)
        self._check_reference("time.reference", reference)
        if isinstance(at, bool) or not isinstance(at, int) or not 0 < at <= _MAX_LENGTH:
            raise self.error("time.at", at, "must be a length in tokens, such as 4096")
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < 1e6:
            raise self.error("time.max", limit, "must be a ratio above 0, such as 0.6")
        return TimeLimit(reference=reference, at=at, max=float(limit))

    def _uncounted(self, table: dict[str, Any]) -> bool:
        value = table.get("uncounted", "forbid")
        if value not in ("forbid", "allow"):
            raise self.error("uncounted", value, 'must be "forbid" or "allow"')
        return value == "forbid"


def _law(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(value)
    return parse_law(value)
