"""One self-contained page of results: no request to anywhere, whatever shows it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from attnprof.report.page.assemble import assemble
from attnprof.report.run import Run

_TEMPLATES = "templates"


def render_page(runs: Sequence[Run]) -> str:
    """The page of one or several runs as HTML.

    Args:
        runs: several need names, which tell them from one another.
    """
    environment = Environment(
        loader=PackageLoader(__name__, _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": False}
    script = _asset("page.js")
    return environment.get_template("page.html.jinja").render(
        page=assemble(runs),
        style=Markup(_asset("page.css")),
        script=Markup(script),
        script_digest=_digest(script),
    )


def _asset(name: str) -> str:
    return (resources.files(__name__) / _TEMPLATES / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """The only script that the page's policy lets run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
