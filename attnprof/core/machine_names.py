"""A short name of the machine that rows were measured on."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attnprof.core.units import counted
from attnprof.core.workload import Device

_LEFT_OUT = re.compile(r"\((?:R|TM|C)\)|®|™|\s+@.*$|\b(?:CPU|Processor)\b", re.IGNORECASE)
_NUMBER = re.compile(r" #\d+$")


def machine_name(environment: Mapping[str, object] | None, device: Device) -> str:
    """The GPU, or the processor and the threads: `AMD EPYC 9V74, 2 threads`; empty if unknown.

    Args:
        environment: `ResultTable.environment`.
        device: of the rows.
    """
    known = environment or {}
    if device == "cuda":
        return _short(known.get("gpu"))
    processor, threads = _short(known.get("processor")), known.get("threads")
    if not processor or not isinstance(threads, int):
        return processor
    return f"{processor}, {counted(threads, 'thread')}"


def numbered(name: str, number: int) -> str:
    """The name of one of several equal machines: ` #2` follows that of the second."""
    return name if number < 2 or not name else f"{name} #{number}"


def kind_of(name: str) -> str:
    """The name without the number that tells equal machines apart."""
    return _NUMBER.sub("", name)


def _short(name: object) -> str:
    """Without trademarks and clock rates, unless nothing else is left."""
    text = str(name or "")
    return " ".join(_LEFT_OUT.sub(" ", text).split()) or text
