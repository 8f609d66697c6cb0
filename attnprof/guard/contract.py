"""A contract: what is measured, and what it may cost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypedDict

from attnprof.core.errors import AttnprofError
from attnprof.core.growth.laws import GrowthLaw

Quantity = Literal["macs", "params", "peak_bytes"]
QUANTITIES: tuple[Quantity, ...] = ("macs", "params", "peak_bytes")
GROWING: tuple[Quantity, ...] = ("macs", "peak_bytes")
"""Quantities whose growth with length is determined."""

EXECUTED_OVER_USEFUL = "executed_over_useful"
"""The key below `max` that limits a ratio instead of a quantity."""

ALLOWANCE_FORMS = 'must be "+1%", "±0%" (either direction) or "any"'

DEFAULT_ALLOWANCES: dict[Quantity, str] = {"macs": "+0%", "params": "+0%", "peak_bytes": "+1%"}

_ALLOWANCE = re.compile(r"(\+|±|\+-)\s*(\d+(?:\.\d+)?)\s*%")

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")

_DECIMAL = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}

_BINARY = {"b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}

_BYTES = _BINARY | {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}

BUDGET_FORMS: dict[Quantity, str] = {
    "macs": 'must be a positive integer, or a string with a unit such as "3 GMac"',
    "params": 'must be a positive integer, or a string with a unit such as "110 M"',
    "peak_bytes": 'must be a positive number of bytes, or a string with a unit such as "512 MiB"',
}

PartKind = Literal["macs", "calls", "bytes", "params"]


class ContractOptions(TypedDict, total=False):
    """Options of what is measured; one value each, with the meaning of the command line's."""

    input: str
    window: int | str
    pattern: str
    dilation: int | str
    global_tokens: int | str
    model: str
    hidden_size: int
    num_heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    causal: bool
    new_tokens: int
    batch_size: int
    dtype: str
    device: str
    mode: str
    scope: str


@dataclass(frozen=True, slots=True)
class Allowance:
    """How far a cost may move from the one in the lock file.

    Attributes:
        text: the allowance as the contract writes it.
        part: the largest change as a fraction of the locked cost; None allows any change.
        is_two_sided: whether a decrease breaks the contract, too.
    """

    text: str
    part: Fraction | None
    is_two_sided: bool = False

    def allows(self, locked: int, current: int) -> bool:
        """Whether a cost may move from the locked to the current one."""
        if self.part is None:
            return True
        change = abs(current - locked) if self.is_two_sided else current - locked
        return change <= self.part * locked


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimit:
    """How long a call may take, relative to a reference that is timed in the same run.

    Attributes:
        reference: a kernel's name, or a reference to a custom kernel.
        at: the sequence length of the timed calls, in tokens.
        max: the largest ratio of the two times that is allowed.
    """

    reference: str
    at: int
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One named contract.

    Attributes:
        name: the contract's name.
        file: the file that defines it.
        line: the line of its table in that file, from 1.
        target: what is measured, as for `--kernel`; paths are relative to the file's folder.
        lengths: sequence lengths in tokens, ascending.
        options: further options of `attnprof.options.GridOptions`, one value each.
        growth: the fastest law that is allowed; a quantity without one must keep its locked law.
        allowances: how far costs may move from the locked ones.
        budgets: absolute limits, in MACs, parameters and bytes.
        executed_over_useful: the largest ratio of executed MACs to those that masks let through;
            None for no limit.
        time: the limit on the real call's time; None for no limit.
        forbids_uncounted: whether an operator without a MAC formula breaks the contract.
    """

    name: str
    file: Path
    line: int
    target: str
    lengths: tuple[int, ...]
    options: Mapping[str, str | int] = field(default_factory=dict[str, "str | int"])
    growth: Mapping[Quantity, GrowthLaw] = field(default_factory=dict[Quantity, GrowthLaw])
    allowances: Mapping[Quantity, Allowance] = field(default_factory=dict[Quantity, Allowance])
    budgets: Mapping[Quantity, int] = field(default_factory=dict[Quantity, int])
    executed_over_useful: float | None = None
    time: TimeLimit | None = None
    forbids_uncounted: bool = True

    @property
    def subject(self) -> dict[str, str | list[int]]:
        """What is measured; an entry in the lock with another subject is stale."""
        settings: dict[str, str | list[int]] = {"target": self.target, "len": list(self.lengths)}
        return settings | {name: str(value) for name, value in sorted(self.options.items())}


def parse_allowance(text: str) -> Allowance:
    """Read an allowance: `+1%`, `±0%` or `any`.

    Raises:
        ValueError: for any other text.
    """
    if text == "any":
        return Allowance(text, None)
    match = _ALLOWANCE.fullmatch(text.strip())
    if not match:
        raise ValueError(text)
    return Allowance(text, Fraction(match[2]) / 100, is_two_sided=match[1] != "+")


def parse_budget(quantity: Quantity, value: object) -> int:
    """Read an amount: a positive integer, or text with a unit of the quantity.

    Raises:
        ValueError: for any other value.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _AMOUNT.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError(value)
    unit = match[2].lower()
    if quantity == "peak_bytes":
        factor = _BYTES.get(unit)
    else:
        word = "mac" if quantity == "macs" else "param"
        factor = _DECIMAL.get(unit.removesuffix("s").removesuffix(word))
    amount = 0 if factor is None else int(Fraction(match[1]) * factor)
    if amount < 1:
        raise ValueError(value)
    return amount


class ConfigurationError(AttnprofError):
    """A contract or lock that cannot be read; the message is one line that names the remedy."""

    exit_code = 2
