"""Options that the commands of `attnprof guard` share."""

from __future__ import annotations

from typing import Annotated

from attnprof.cli import completion
from attnprof.cli.option_forms import option

Config = Annotated[
    str | None,
    option(
        "--config",
        "FILE",
        "File with the contracts.",
        default="attnprof.toml and pyproject.toml here, or in the nearest folder above that has "
        "contracts",
    ),
]
Timeout = Annotated[
    str | None,
    option("--timeout", "<float>", "Time limit in seconds for each contract.", default="300"),
]
Format = Annotated[
    str,
    option(
        "--format",
        "NAME",
        "Output format: text, json, github, junit or markdown.",
        complete=completion.guard_formats,
    ),
]
