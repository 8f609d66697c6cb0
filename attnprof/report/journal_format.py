"""The lines that a journal may have, its header first; any other line is damaged."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from attnprof.core.records import (
    CASE,
    COPY_RATE,
    MACHINE,
    MATMUL_RATE,
    ROUNDS,
    UTILISATIONS,
    WITHHELD,
    Status,
    is_fraction,
)
from attnprof.core.study import StudyPart

SCHEMA = 1
HEADER = "attnprof_journal"
FINISHED = "finished"

_OF_END = {CASE, MACHINE, ROUNDS, WITHHELD, MATMUL_RATE, COPY_RATE, "speedup", *UTILISATIONS}


@dataclass(frozen=True, slots=True)
class RunFingerprint:
    """What must be equal for records of an earlier run to be reused.

    Attributes:
        machine: processor, threads, GPU and versions.
        sources: digests of the source files of custom kernels, by kernel.
        host: digest of the host's name, which may differ.
        study: the part of a study that is run, which may differ; None where it is of none.
    """

    machine: Mapping[str, object]
    sources: Mapping[str, str]
    host: str = ""
    study: StudyPart | None = None

    def as_line(self) -> dict[str, object]:
        """The header of the records of a run."""
        header: dict[str, object] = {
            HEADER: SCHEMA,
            "machine": self.machine,
            "sources": self.sources,
            "host": self.host,
        }
        return header if self.study is None else {**header, "study": self.study.as_dict()}

    def matches(self, header: Mapping[str, Any], kernel: str) -> bool:
        """Whether a kernel's records under a header may be reused."""
        sources: Mapping[str, str] = header.get("sources", {})
        is_same_source = sources.get(kernel) == self.sources.get(kernel)
        return header.get("machine") == self.machine and is_same_source


def read_line(text: bytes) -> dict[str, Any] | None:
    """The object of a line; None where it is damaged: not JSON, or a value of a wrong type."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):  # a UnicodeDecodeError is a ValueError
        return None
    if not isinstance(line, dict):
        return None
    fields = cast("dict[str, Any]", line)
    is_valid = (
        _is_header(fields) if HEADER in fields else fields == {FINISHED: True} or _is_record(fields)
    )
    return fields if is_valid else None


def is_of_end(quantity: str) -> bool:
    """Whether a record is written when its case is closed: its time, and what belongs to it."""
    return quantity in _OF_END or quantity.startswith("time_")


def _is_header(line: Mapping[str, Any]) -> bool:
    sources = line.get("sources")
    if _is_whole_number(line[HEADER]) and line[HEADER] != SCHEMA:
        return True  # of another version, whose fields may differ
    return (
        _is_whole_number(line[HEADER])
        and isinstance(line.get("machine"), dict)
        and isinstance(sources, dict)
        and all(isinstance(digest, str) for digest in cast("dict[str, Any]", sources).values())
    )


def _is_record(line: Mapping[str, Any]) -> bool:
    return all(
        name in line and is_valid(line[name]) for name, is_valid in _TYPES.items()
    ) and _is_value(line["quantity"], line["value"])


def _is_value(quantity: str, value: Any) -> bool:
    """Whether a quantity may have the value: a whole number, a fraction, or None for no value."""
    if value is None:
        return True
    if is_fraction(quantity):
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
