"""What a table gets when its run ends: the time, and the call that made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import cast

from attnprof.core.result_table import ResultTable


def finish(table: ResultTable) -> None:
    """Note the time."""
    table.finished_at = datetime.now().astimezone().isoformat(timespec="seconds")


def python_call(function: str, options: Mapping[str, object]) -> str:
    """A call of the package as Python: `attnprof.compare(len=[512, 1024], no_time=True)`."""
    arguments = ", ".join(f"{name}={_literal(value)}" for name, value in options.items())
    return f"attnprof.{function}({arguments})"


def _literal(value: object) -> str:
    """A value as Python; a module, a class or a function by its name."""
    if isinstance(value, list | tuple):
        items = [_literal(item) for item in cast("Iterable[object]", value)]
        return f"[{', '.join(items)}]" if isinstance(value, list) else f"({', '.join(items)},)"
    if callable(value):
        return str(getattr(value, "__name__", type(value).__name__))
    return " ".join(repr(value).split())
