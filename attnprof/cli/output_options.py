"""Options of what is printed and written, with their help."""

from __future__ import annotations

from typing import Annotated

from attnprof.cli import completion
from attnprof.cli.option_forms import OUTPUT, flag, option, path

Details = Annotated[
    bool,
    flag(
        "--details",
        OUTPUT,
        "Print everything: all columns, growth, crossover lengths, maximum lengths, notes.",
    ),
]

Explain = Annotated[
    bool,
    flag(
        "--explain",
        OUTPUT,
        "Print the formulas with the numbers put in, term by term, with their sources.",
    ),
]


Html = Annotated[
    str | None,
    path("--html", "Write one self-contained page: verdict, charts, table, patterns, data."),
]
Png = Annotated[
    str | None,
    path(
        "--png",
        "Write a chart as PNG; a path ending in .svg or .pdf gets that format. For all "
        "formats, - is stdout.",
    ),
]
Svg = Annotated[str | None, path("--svg", "Write the chart as SVG.")]

Chart = Annotated[
    str | None,
    option(
        "--chart",
        "NAME",
        "What charts show: growth, costs against length; breakdown, the parts of the MACs; "
        "roofline, FLOP/s against FLOP/B below what the machine allows.",
        default="growth",
        panel=OUTPUT,
        complete=completion.charts,
    ),
]

Markdown = Annotated[str | None, path("--markdown", "Write table and findings as Markdown.")]
Csv = Annotated[str | None, path("--csv", "Write CSV, one row per kernel and workload.")]
TableCsv = Annotated[str | None, path("--csv", "Write the table as CSV; - is stdout.")]
Json = Annotated[str | None, path("--json", "Write rows and environment as JSON.")]
TableJson = Annotated[str | None, path("--json", "Write the table as JSON; - is stdout.")]
CompareJson = Annotated[
    str | None,
    path(
        "--json",
        "Write rows and environment as JSON; each record is also appended to a .jsonl file of the "
        "same name, as it is measured.",
    ),
]

Resume = Annotated[
    bool,
    flag(
        "--resume",
        OUTPUT,
        "Resume the run that wrote --json; finished measurements are kept, except times whose "
        "verdict was withheld.",
    ),
]
