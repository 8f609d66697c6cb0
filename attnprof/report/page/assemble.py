"""From runs to what their page shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from markupsafe import Markup

from attnprof.analysis import findings
from attnprof.analysis.series import Series, series_of
from attnprof.core.result_table import ResultTable
from attnprof.report.charts import panel_svgs
from attnprof.report.charts.headings import study_heading
from attnprof.report.image_forms import Chart
from attnprof.report.overview import overview_of
from attnprof.report.overview.model import Overview, OverviewTable
from attnprof.report.page.content import (
    Cell,
    ChartSet,
    Comparison,
    Download,
    Figure,
    Heading,
    Page,
    RunContent,
    Table,
)
from attnprof.report.page.counters import counter_table
from attnprof.report.page.facts import facts_of
from attnprof.report.page.formulas import term_tables
from attnprof.report.page.markers import markers_of
from attnprof.report.page.notes import note_table
from attnprof.report.page.patterns import pattern_figures
from attnprof.report.page.result_rows import result_table
from attnprof.report.run import Run
from attnprof.report.side_by_side import side_by_side
from attnprof.report.summary import describe_findings
from attnprof.report.symbols import describe_symbols

_CHARTS: Mapping[Chart, str] = {
    "growth": "Growth with length",
    "breakdown": "Where the MACs are",
    "roofline": "Roofline",
}

_WIDTH = 160
"""Characters of a line of the page; wider tables scroll."""

_NOTHING = Overview("Attention costs", "no case was finished", (), ())
"""What a page says about a run that was interrupted before its first row."""


def assemble(runs: Sequence[Run]) -> Page:
    """All that a page says about runs.

    Args:
        runs: one or several; several need names.
    """
    every_row = ResultTable(record for run in runs for record in run.table.records)
    series = [member for member in series_of(every_row) if member.is_supported]
    markers = markers_of(row.kernel for row in every_row.rows)
    terms = tuple(term_tables(series))
    contents = tuple(_run_content(run, markers) for run in runs)
    subjects = dict.fromkeys(content.overview.heading for content in contents)
    settings = {content.overview.setting for content in contents}
    return Page(
        title=study_heading(runs) if runs[0].is_setting else " and ".join(subjects),
        setting=settings.pop() if len(settings) == 1 else "",
        legend=tuple(Cell(name, marker=marker) for name, marker in markers.items()),
        comparison=_comparison(runs, series, markers) if _are_comparable(runs) else None,
        runs=contents,
        charts=tuple(_chart_sets(runs)),
        patterns=tuple(pattern_figures(series)),
        terms=terms,
        symbols=describe_symbols(row[1].text for table in terms for row in table.rows),
        results=result_table(runs, markers),
        downloads=tuple(_downloads(runs)),
    )


def _are_comparable(runs: Sequence[Run]) -> bool:
    """Whether costs are shown side by side: not those of one study on several machines."""
    if runs[0].is_setting and len({name for run in runs for name in run.table.machines}) > 1:
        return False
    return len(runs) > 1


def _comparison(
    runs: Sequence[Run], series: Sequence[Series], markers: Mapping[str, Markup]
) -> Comparison:
    compared = side_by_side(runs)
    tables = (_overview_table(table, series, markers) for table in compared.tables)
    return Comparison(tuple(tables), compared.legend)


def _run_content(run: Run, markers: Mapping[str, Markup]) -> RunContent:
    table = run.table
    overview = overview_of(table, _WIDTH) if table.rows else _NOTHING
    series = [member for member in series_of(table) if member.is_supported]
    sentences = dict(describe_findings(findings.find(table)))
    return RunContent(
        name=run.name,
        overview=overview,
        overview_tables=tuple(
            _overview_table(part, series_of(table), markers) for part in overview.tables
        ),
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
        facts=tuple(facts_of(table)),
        command=table.command,
    )


def _overview_table(
    part: OverviewTable, series: Iterable[Series], markers: Mapping[str, Markup]
) -> Table:
    """A table of the overview with the markers of its kernels; the best cells are marked."""
    kernel_of = {member.label: member.rows[0].kernel for member in series}
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
