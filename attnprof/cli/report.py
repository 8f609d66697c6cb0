"""`attnprof report`."""

from __future__ import annotations

from typing import Annotated

import typer

from attnprof.cli import option_forms, output_options
from attnprof.cli.saving import run_and_save

Results = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RESULTS",
        help="Files that compare or estimate wrote with --json; the .jsonl of an interrupted run.",
        show_default=False,
    ),
]

Name = Annotated[
    list[str] | None,
    option_forms.option(
        "--name",
        "NAME...",
        "Names of several runs, in the order of their files.",
        panel=option_forms.OUTPUT,
        default="what tells them apart",
    ),
]


def report(
    ctx: typer.Context,
    results: Results = None,
    name: Name = None,
    details: output_options.Details = False,
    explain: output_options.Explain = False,
    html: output_options.Html = None,
    png: output_options.Png = None,
    svg: output_options.Svg = None,
    chart: output_options.Chart = None,
    markdown: output_options.Markdown = None,
    csv: output_options.Csv = None,
    json: output_options.Json = None,
) -> None:
    """Show saved results again: of one run, of a study in parts, or of runs side by side.

    Example: [bold]attnprof report costs.json --html costs.html[/]
    """
    from attnprof.cli.console import echo_err
    from attnprof.cli.results import show_runs
    from attnprof.core.errors import UsageError
    from attnprof.report.formats import renderers
    from attnprof.report.outputs import OutputOptions, Outputs
    from attnprof.report.saved import read_runs

    if not results:
        raise UsageError("results", "RESULTS", "name one or more files, such as costs.json")
    paths: OutputOptions = {
        "csv": csv,
        "markdown": markdown,
        "png": png,
        "svg": svg,
        "html": html,
        "json": json,
    }
    outputs = Outputs.read(paths, renderers({"png": png, "svg": svg, "chart": chart}))
    outputs.check_keeps(results, "has the results to show")
    runs = read_runs(results, name or (), lambda note: echo_err(f"attnprof: {note}"))
    if json and len(runs) > 1:
        raise UsageError("json", json, "needs the results of one run or study; name its files only")
    _, exit_code = run_and_save(lambda: outputs.save(runs))
    if not outputs.takes_stdout:
        show_runs(runs, has_details=details, has_formulas=explain)
    for path in outputs.written:
        echo_err(f"written: {path}")
    raise typer.Exit(exit_code)
