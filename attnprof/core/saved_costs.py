"""Costs of a custom kernel that are kept with results, so that its code need not run again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from attnprof.core.typed_json import UnexpectedError, read_as

_Costs = Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SavedCosts:
    """What findings need of a custom kernel, by length in tokens; the rest is in the rows.

    Attributes:
        executed_macs: MACs of one call.
        peak_bytes: the predicted peak of one call.
        static_bytes: bytes of parameters and inputs.
        operators: operators that counting ran.
        operator_macs: MACs of one call, by operator.
    """

    executed_macs: _Costs = field(default_factory=dict[int, int])
    peak_bytes: _Costs = field(default_factory=dict[int, int])
    static_bytes: _Costs = field(default_factory=dict[int, int])
    operators: _Costs = field(default_factory=dict[int, int])
    operator_macs: Mapping[int, Mapping[str, int]] = field(
        default_factory=dict[int, Mapping[str, int]]
    )

    def as_dict(self) -> dict[str, dict[str, object]]:
        """The costs as plain data, for JSON."""
        return {
            name: {str(seq_len): cost for seq_len, cost in sorted(getattr(self, name).items())}
            for name in _KINDS
        }


def merged_costs(saved: Iterable[Mapping[str, SavedCosts]]) -> dict[str, SavedCosts]:
    """The costs of several files, by name: each knows a kernel at the lengths of its own rows."""
    merged: dict[str, SavedCosts] = {}
    for costs in saved:
        for name, one in costs.items():
            known = merged.get(name, SavedCosts())
            lengths = {kind: {**getattr(known, kind), **getattr(one, kind)} for kind in _KINDS}
            merged[name] = SavedCosts(**lengths)
    return merged


def costs_name(kernel: str, setting: str) -> str:
    """The name under which a table has the costs of a kernel in one setting of a study."""
    return f"{kernel}; {setting}" if setting else kernel


_KINDS: Mapping[str, Any] = {
    "executed_macs": int,
    "peak_bytes": int,
    "static_bytes": int,
    "operators": int,
    "operator_macs": Mapping[str, int],
}
"""What each of the costs is at one length."""


def read_saved_costs(value: object, path: str) -> SavedCosts:
    """The costs from plain data, as `SavedCosts.as_dict` has it.

    Args:
        value: as `json.loads` returns it.
        path: of the value, for messages.

    Raises:
        UnexpectedError: for the first value that is something else.
    """
    by_name = read_as(Mapping[str, Mapping[str, object]], value, path)
    return SavedCosts(
        **{
            name: {
                _length(text, f"{path}.{name}"): read_as(kind, cost, f"{path}.{name}.{text}")
                for text, cost in by_name.get(name, {}).items()
            }
            for name, kind in _KINDS.items()
        }
    )


def _length(text: str, path: str) -> int:
    if not text.isdecimal():
        raise UnexpectedError(f"{path}.{text} is not a length")
    return int(text)
