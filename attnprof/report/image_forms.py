"""What a picture shows and which format its file has, as the options of a command say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast, get_args

from attnprof.core.errors import UsageError, suggest
from attnprof.core.files import is_special
from attnprof.core.option_values import EMPTY_VALUE

ImageForm = Literal["png", "svg", "pdf"]
Chart = Literal["growth", "breakdown", "roofline"]

CHARTS: tuple[Chart, ...] = get_args(Chart)
"""Values of `chart`: costs against length, the parts of the MACs, or speed against
arithmetic intensity."""


def read_chart(value: object) -> Chart:
    """What charts show; `growth` by default.

    Raises:
        UsageError: for a name that is not in `CHARTS`.
    """
    if value is None:
        return "growth"
    if value not in CHARTS:
        raise UsageError("chart", value or EMPTY_VALUE, f"unknown; {suggest(str(value), CHARTS)}")
    return value


def draws(options: Mapping[str, object], chart: Chart) -> bool:
    """Whether options ask for a picture of that chart."""
    has_picture = any(options.get(name) is not None for name in ("png", "svg"))
    return has_picture and options.get("chart") == chart


def read_image_form(option: Literal["png", "svg"], path: str | None) -> ImageForm:
    """The format of a picture's file, by the suffix of its path.

    A path without a suffix, stdout and special files get the option's own format.

    Raises:
        UsageError: for a suffix of another format.
    """
    suffix = Path(path or "").suffix.lower().removeprefix(".")
    if suffix in get_args(ImageForm):
        return cast("ImageForm", suffix)
    if not suffix or is_special(Path(path or "")):
        return option
    raise UsageError(option, path, "must end in .png, .svg or .pdf")
