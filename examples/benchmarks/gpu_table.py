"""The table of `gpu.py`: one line for each case of `sliding_window_attention`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

WIDTH = 100
NAMES = ("tiles", "triton", "flex", "dense")
_RATIOS = (("flex", "tiles"), ("dense", "tiles"), ("flex", "triton"), ("dense", "triton"))
_CHECKED = ("triton", "flex")


def heading() -> list[str]:
    """Lines above the table."""
    ratios = "".join(f"{a[:2]}/{b[:2]}".rjust(6) for a, b in _RATIOS)
    off = "".join(f"{name[:2]} off".rjust(8) for name in _CHECKED)
    times = "".join(name.rjust(9) for name in NAMES)
    return [
        "Times, ratios of times (fl/ti: flex / tiles), largest differences from the tiles (off).",
        f"{'n':>7}{'dil':>4}{'glob':>5} {'pass':<7}{times}{ratios}{off}",
    ]


def row(record: Mapping[str, Any]) -> str:
    """A case as a line of the table."""
    from attnprof.core.units import format_duration

    times, failed = record.get("time_ns", {}), record["failed"]
    off = record.get("difference", {})
    cells = [
        (format_duration(times[name]) if name in times else "failed" if name in failed else "-")
        for name in NAMES
    ]
    ratios = [_ratio(times[a] / times[b]) if {a, b} <= times.keys() else "-" for a, b in _RATIOS]
    differences = [f"{off[name]:.0e}" if name in off else "-" for name in _CHECKED]
    line = f"{record['seq_len']:>7,}{record['dilation']:>4}{record['globals']:>5} "
    line += f"{record['pass']:<7}" + "".join(cell.rjust(9) for cell in cells)
    line += "".join(cell.rjust(6) for cell in ratios)
    return line + "".join(cell.rjust(8) for cell in differences)


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 99 else f"{value:.0f}"


def reasons(failures: Mapping[tuple[str, str], int]) -> list[str]:
    """Why cases failed, each reason once; wrapped.

    Args:
        failures: how many cases, by implementation and reason.
    """
    lines: list[str] = []
    for (name, why), count in failures.items():
        text = f"{name} failed in {count} of the cases: {why}"
        lines += textwrap.wrap(text, WIDTH, subsequent_indent="  ")
    return lines
