"""What a line of a journal may be; everything else is damage."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, cast, get_args

from attnprof.core.records import RATIO, Status

SCHEMA = 1
HEADER = "attnprof_journal"
FINISHED = "finished"


def read_line(text: bytes) -> dict[str, Any] | None:
    """The object of a line; None where it is damaged: no JSON, or with values of a wrong type."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):  # a UnicodeDecodeError is a ValueError
        return None
    if not isinstance(line, dict):
        return None
    found = cast("dict[str, Any]", line)
    is_whole = (
        _is_header(found) if HEADER in found else found == {FINISHED: True} or _is_record(found)
    )
    return found if is_whole else None


def _is_header(line: Mapping[str, Any]) -> bool:
    sources = line.get("sources")
    if _is_whole_number(line[HEADER]) and line[HEADER] != SCHEMA:
        return True  # of another version, which may have more or less in it
    return (
        _is_whole_number(line[HEADER])
        and isinstance(line.get("machine"), dict)
        and isinstance(sources, dict)
        and all(isinstance(one, str) for one in cast("dict[str, Any]", sources).values())
    )


def _is_record(line: Mapping[str, Any]) -> bool:
    return all(name in line and is_so(line[name]) for name, is_so in _TYPES.items()) and _is_value(
        line["quantity"], line["value"]
    )


def _is_value(quantity: str, value: Any) -> bool:
    """Whether it is what a quantity takes: a whole number, or a ratio; None where there is none."""
    if value is None:
        return True
    if quantity == "speedup" or quantity.startswith(RATIO):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and value >= 0 and math.isfinite(value)
    return _is_whole_number(value) and value >= 0


def _is_whole_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "kernel": _is_text,
    "seq_len": _is_whole_number,
    "quantity": _is_text,
    "value": lambda value: True,
    "unit": _is_text,
    "status": lambda value: value in get_args(Status),
    "detail": _is_text,
}
