"""The command line: one file per command, no arithmetic."""

from __future__ import annotations

from typing import Annotated

import typer

from attnprof.cli.error_handling import ErrorHandlingGroup

app = typer.Typer(
    cls=ErrorHandlingGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback(invoke_without_command=True)
def attnprof(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """What attention costs, and how the cost grows with length.

    Example: [bold]attnprof estimate --len 512 4k 32k[/]

    MACs by formula, by ptflops and at operator level, peak memory and time,
    for dense BERT attention and the Longformer variants.
    """
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"attnprof {version_of('attnprof')}")
    elif ctx.invoked_subcommand is None:
        from attnprof.cli.first_screen import first_screen

        typer.echo(first_screen())
