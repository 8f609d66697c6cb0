"""What a page shows, as text: the templates add the markup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from attnprof.report.overview.model import Overview

Align = Literal["left", "right", "prose"]
"""Names and formulas are left-aligned, numbers right-aligned; only prose is broken into lines."""


@dataclass(frozen=True, slots=True)
class Heading:
    """The heading of a column.

    Attributes:
        text: the heading.
        align: of its cells.
        hint: what the column is, where the heading does not say it.
    """

    text: str
    align: Align = "right"
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        sort_value: the value that rows are sorted by: raw integers, not rounded text; None where
            there is no value.
        marker: the marker of a kernel in front of the text; empty without one.
        share: the part of the bar below the text that is filled, 0 to 1; None without a bar.
        note: smaller text after it.
        is_best: whether it is the best of its column.
    """

    text: str
    sort_value: float | str | None = None
    marker: Markup | str = ""
    share: float | None = None
    note: str = ""
    is_best: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of each row is the row's heading.

    Attributes:
        caption: what the table shows; its name for screen readers too.
        headings: of the columns.
        rows: of cells.
        total: the last row, which adds up the others; empty without one.
        note: a line below the table; empty without one.
    """

    caption: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: tuple[Cell, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with its caption."""

    caption: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class ChartSet:
    """The panels of one kind of chart, and the label of the button that shows it."""

    name: str
    label: str
    panels: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact about the machine: `Processor`, `AMD EPYC, 2 cores`."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class RunContent:
    """All that a page says about one run.

    Attributes:
        name: of the run; empty where it is the only one.
        overview: the answer in words and its tables.
        overview_tables: these tables with markers.
        counters: what each counter counts; None where nothing was counted.
        counting: what the counters miss, in sentences.
        growth: how costs grow, in sentences.
        crossovers: crossover lengths, in sentences.
        speed: verdicts on speed, in sentences.
        max_lengths: the longest lengths that fit, in sentences.
        notes: why rows are missing values or are uncertain; None without any.
        facts: about the machine and its software; empty where nothing was measured.
        command: what was run; empty if unknown.
    """

    name: str
    overview: Overview
    overview_tables: tuple[Table, ...]
    counters: Table | None
    counting: tuple[str, ...]
    growth: tuple[str, ...]
    crossovers: tuple[str, ...]
    speed: tuple[str, ...]
    max_lengths: tuple[str, ...]
    notes: Table | None
    facts: tuple[Fact, ...]
    command: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several runs side by side.

    Attributes:
        tables: a cost each, with a column for each run.
        legend: what ratios and marks mean.
    """

    tables: tuple[Table, ...]
    legend: str


@dataclass(frozen=True, slots=True)
class Download:
    """A file that the page contains.

    Attributes:
        file_name: under which it is saved.
        media_type: such as `text/csv`.
        text: its content.
    """

    file_name: str
    media_type: str
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    Attributes:
        title: of the page and its window.
        setting: the line below the title.
        legend: the marker and name of each kernel.
        comparison: costs of several runs side by side; None for one.
        runs: one or several.
        charts: of all runs.
        patterns: who attends to whom, with the blocks that kernels compute.
        terms: the cost formulas with the numbers put in.
        symbols: what their symbols mean.
        results: all rows of all runs.
        downloads: the data as files.
    """

    title: str
    setting: str
    legend: tuple[Cell, ...]
    comparison: Comparison | None
    runs: tuple[RunContent, ...]
    charts: tuple[ChartSet, ...]
    patterns: tuple[Figure, ...]
    terms: tuple[Table, ...]
    symbols: str
    results: Table
    downloads: tuple[Download, ...]

    @property
    def download_texts(self) -> list[dict[str, str]]:
        """What the page's script needs of each download."""
        return [
            {"media_type": download.media_type, "text": download.text}
            for download in self.downloads
        ]
