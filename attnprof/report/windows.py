"""What a model's windows need against what it executes: sentences and a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from attnprof.analysis.windows import (
    LayerAttention,
    ModelWindows,
    Sum,
    WindowsTable,
    grouped,
    same_in_flex,
)
from attnprof.core.units import counted, format_count, format_macs, format_tokens
from attnprof.core.workload import Workload
from attnprof.report.columns import EMPTY
from attnprof.report.markdown_row import format_row
from attnprof.report.overview import WIDTH
from attnprof.report.text_table import UNBOUNDED, TextRow, fit_table, wrapped
from attnprof.report.window_sentences import format_declared, format_overhead, sentences

MAX_LINES = 30
"""Lines of sentences and table; with more, each model has one sentence and one row instead."""

_MOST_RANGES = 4
"""Ranges of layers that a name lists; of more it lists the first ones."""

_INDEX = re.compile(r"(?<![^.])\d+(?![^.])")
_HEADINGS = ("layers", "window", "pairs\nneeded", "pairs\nexecuted", "executed\n/ needed")
_FLEX_HEADING = "with\nflex"
_PROSE = (1,)
"""The column of windows."""


def render_windows(table: WindowsTable, width: int, *, has_details: bool = False) -> Text:
    """For each model and length: what can be said of it, then its layers.

    Args:
        table: the models.
        width: in characters, `UNBOUNDED` in a pipe, where only the table is that wide.
        has_details: whether each layer has a row of its own, and everything is said, however much
            that is.
    """
    prose = WIDTH if width == UNBOUNDED else width
    setting = [line for line in _shared_setting(table.models) for line in wrapped(line, prose)]
    paragraphs = [_paragraph(model, table, prose) for model in table.models]
    sections = [_section(model, is_single=has_details) for model in table.models]
    if not has_details and sum(map(len, [*paragraphs, *sections])) > MAX_LINES:
        paragraphs = [_paragraph(model, table, prose, most=1) for model in table.models]
        sections = [[_row_of_all(model, _title(model))] for model in table.models]
    texts = [Text(line) for line in setting]
    texts += [Text(line) for paragraph in paragraphs for line in ("", *paragraph)]
    rows = [row for section in sections for row in section]
    return Text("\n", no_wrap=True).join([*texts, Text(), _fitted(table, rows, width)])


def _fitted(table: WindowsTable, rows: Sequence[TextRow], width: int) -> Text:
    headings = _headings(table.models)
    shown = [TextRow(row.cells[: len(headings)], row.style) for row in rows]
    return fit_table(headings, shown, width, prose=_PROSE)


def _headings(models: Sequence[ModelWindows]) -> tuple[str, ...]:
    has_flex = any(model.with_flex for model in models)
    return (*_HEADINGS, _FLEX_HEADING) if has_flex else _HEADINGS


def render_windows_markdown(table: WindowsTable) -> str:
    """The same sentences as lists, and the layers of each model as a table."""
    lines = [f"{line}." for line in _shared_setting(table.models)]
    for model in table.models:
        headings = [heading.replace("\n", " ") for heading in _headings([model])]
        lines += ["", f"**{_title(model)}**", ""]
        lines += [f"- {sentence}" for sentence in sentences(model)]
        lines += ["", format_row(headings)]
        lines += [format_row(["---", "---", *["---:"] * (len(headings) - 2)])]
        lines += [
            format_row(list(row.cells[: len(headings)]))
            for row in _section(model, is_single=False)[1:]
        ]
    return "\n".join(lines) + "\n"


def _paragraph(
    model: ModelWindows, table: WindowsTable, width: int, *, most: int | None = None
) -> list[str]:
    """The sentences on a model, below its name if there are several; at most the first ones."""
    lines = [_title(model)] if len(table.models) > 1 else []
    for sentence in sentences(model)[:most]:
        lines += wrapped(f"  {sentence}", width)
    return lines


def _title(model: ModelWindows) -> str:
    return f"{model.case.kernel}, {format_tokens(model.seq_len)}"


def _shared_setting(models: Sequence[ModelWindows]) -> list[str]:
    settings = dict.fromkeys(_setting(model.case.workload) for model in models)
    return [f"Attention{setting}" for setting in settings]


def _setting(workload: Workload) -> str:
    part = " of a forward pass" if workload.mode == "training" else ""
    device = workload.device.upper()
    return f"{part}, batch {workload.batch_size}, {workload.dtype}, {device}, {workload.mode}"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a layer is in a model: `layers.3.self_attn` is 3 between `layers` and `self_attn`."""

    before: str
    index: int | None
    after: str


def _place(path: str) -> _Place:
    matches = list(_INDEX.finditer(path))
    if not matches:
        return _Place(path or "(itself)", None, "")
    last = matches[-1]
    return _Place(path[: last.start()].rstrip("."), int(last[0]), path[last.end() :].lstrip("."))


def _section(model: ModelWindows, *, is_single: bool) -> list[TextRow]:
    """A heading, a row for each layer or each group of equal layers, and all of them."""
    by_path = {layer.layer: layer for layer in model.with_flex}

    def key(layer: LayerAttention) -> object:
        place, flex = _place(layer.layer), by_path.get(layer.layer)
        if is_single or place.index is None:
            return layer.layer
        return (
            *(place.before, place.after, _window(layer, model.seq_len)),
            *(layer.attended_pairs, layer.executed_pairs, layer.executed_macs),
            flex.executed_macs if flex else None,
        )

    groups = grouped(model.layers, key)
    places = [_place(layer.layer) for layer in model.layers]
    has_prefix = len({place.before for place in places}) > 1
    has_suffix = len({place.after for place in places}) > 1
    rows = [
        TextRow(
            (
                _name(group, has_prefix=has_prefix, has_suffix=has_suffix),
                _window(group[0], model.seq_len),
                *_numbers(model, Sum(group)),
            )
        )
        for group in groups
    ]
    heading = TextRow((_title(model),), "bold")
    return [heading, *rows, *([_row_of_all(model, "all")] if len(rows) > 1 else [])]


def _row_of_all(model: ModelWindows, name: str) -> TextRow:
    """One row for a whole model."""
    layers = counted(len(model.layers), "layer")
    return TextRow((name, layers, *_numbers(model, Sum(model.layers))))


def _numbers(model: ModelWindows, some: Sum) -> tuple[str, str, str, str]:
    """Pairs let through and executed, their ratio, and that of FlexAttention."""
    flex = same_in_flex(model, some)
    attended = some.attended_pairs
    return (
        EMPTY if attended is None else format_macs(attended, unit=""),
        format_macs(some.executed_pairs, unit=""),
        format_overhead(some),
        "" if flex is None else format_overhead(flex),
    )


def _window(layer: LayerAttention, seq_len: int) -> str:
    """The declared window, and what became of it; else what the mask lets through."""
    if not layer.declared:
        return {"unknown": "none; mask unknown", "other": "none; other mask"}.get(
            layer.mask, f"none; {layer.mask}"
        )
    if layer.mask in ("causal", "full"):
        effect = ", not applied" if layer.hides_in(seq_len) else ", hides nothing"
        return f"{format_declared(layer)}{effect}"
    return format_declared(layer)


def _name(group: Sequence[LayerAttention], *, has_prefix: bool, has_suffix: bool) -> str:
    """`1-2, 4-5`, with what is above and below the layers where they differ in that."""
    places = [_place(layer.layer) for layer in group]
    first = places[0]
    numbers = _ranges([place.index for place in places if place.index is not None])
    prefix = first.before if has_prefix or not numbers else ""
    suffix = first.after if has_suffix else ""
    return " ".join(part for part in (prefix, numbers, suffix) if part)


def _ranges(numbers: Sequence[int]) -> str:
    """`0, 2-4` of 0, 2, 3, 4; of many ranges the first, and how many numbers there are."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    if len(texts) <= _MOST_RANGES:
        return ", ".join(texts)
    return f"{', '.join(texts[: _MOST_RANGES - 1])}, … ({format_count(len(numbers))})"
