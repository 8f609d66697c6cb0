"""From runs to what their page shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from attnprof.analysis import findings
from attnprof.analysis.series import series_of
from attnprof.core.result_table import ResultTable
from attnprof.report.charts import panel_svgs
from attnprof.report.overview import overview_of
from attnprof.report.overview.model import OverviewTable
from attnprof.report.page.content import (
    Cell,
    ChartSet,
    Download,
    Figure,
    Heading,
    Page,
    RunContent,
    Table,
)
from attnprof.report.page.counters import counter_table
from attnprof.report.page.environment import environment_facts
from attnprof.report.page.formulas import term_tables
from attnprof.report.page.markers import markers_of
from attnprof.report.page.notes import note_table
from attnprof.report.page.patterns import pattern_figures
from attnprof.report.page.result_rows import result_table
from attnprof.report.run import Run
from attnprof.report.summary import describe_findings

_CHARTS = {"growth": "Growth with length", "breakdown": "Where the MACs are"}

_WIDTH = 160
"""Characters of a line of the page; wider tables scroll."""


def assemble(runs: Sequence[Run]) -> Page:
    """All that a page says about runs.

    Args:
        runs: one or several; several need names.
    """
    markers = markers_of(row.kernel for run in runs for row in run.table.rows)
    contents = tuple(_run_content(run, markers) for run in runs)
    subjects = list(dict.fromkeys(content.overview.heading for content in contents))
    settings = list(dict.fromkeys(content.overview.setting for content in contents))
    series = [member for run in runs for member in series_of(run.table) if member.is_supported]
    return Page(
        title=" and ".join(subjects),
        setting=settings[0] if len(settings) == 1 else "",
        legend=tuple(Cell(name, marker=marker) for name, marker in markers.items()),
        runs=contents,
        charts=tuple(_chart_sets(runs)),
        patterns=tuple(pattern_figures(series)),
        terms=tuple(term_tables(series)),
        results=result_table(runs, markers),
        downloads=tuple(_downloads(runs)),
    )


def _run_content(run: Run, markers: Mapping[str, Markup]) -> RunContent:
    table = run.table
    overview = overview_of(table, _WIDTH)
    series = [member for member in series_of(table) if member.is_supported]
    sentences = dict(describe_findings(findings.find(table)))
    return RunContent(
        name=run.name,
        overview=overview,
        overview_tables=tuple(_overview_table(part, table, markers) for part in overview.tables),
        counters=counter_table(series, markers),
        counting=tuple(sentences.get("ptflops coverage", ())),
        growth=tuple(sentences.get("Growth of executed MACs", ())),
        crossovers=tuple(sentences.get("Crossover lengths", ())),
        speed=tuple(
            line
            for heading, lines in sentences.items()
            if heading.startswith("Speed relative to")
            for line in lines
        ),
        max_lengths=tuple(sentences.get("Maximum length in available memory", ())),
        notes=note_table(table, markers),
        environment=tuple(environment_facts(table.environment)),
        command=table.command,
    )


def _overview_table(
    part: OverviewTable, table: ResultTable, markers: Mapping[str, Markup]
) -> Table:
    """A table of the overview with the markers of its kernels; the best cells are marked."""
    kernel_of = {member.label: member.rows[0].kernel for member in series_of(table)}
    best = part.best or (frozenset[int](),) * len(part.rows)
    rows = tuple(
        (
            Cell(row[0], marker=markers[kernel_of[row[0]]] if row[0] in kernel_of else ""),
            *(Cell(text, is_best=index in marked) for index, text in enumerate(row[1:], start=1)),
        )
        for row, marked in zip(part.rows, best, strict=True)
    )
    headings = (Heading("kernel", "left"), *(Heading(text) for text in part.columns))
    return Table(part.heading, headings, rows)


def _chart_sets(runs: Sequence[Run]) -> Iterator[ChartSet]:
    for name, label in _CHARTS.items():
        panels = panel_svgs(runs, chart=name)
        if panels:
            figures = tuple(Figure(panel.title, Markup(panel.svg)) for panel in panels)
            yield ChartSet(name, label, figures)


def _downloads(runs: Sequence[Run]) -> Iterator[Download]:
    for index, run in enumerate(runs, start=1):
        stem = "results" if len(runs) == 1 else f"results-{index}"
        yield Download(f"{stem}.csv", "text/csv", run.table.to_csv())
        yield Download(f"{stem}.json", "application/json", run.table.to_json())
