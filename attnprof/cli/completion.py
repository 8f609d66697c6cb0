"""Values that a shell completes; each function imports only what it lists, never torch.

No value means that the shell completes file names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import get_args


def _matching(incomplete: str, values: Iterable[str]) -> list[str]:
    return [value for value in values if value.startswith(incomplete)]


def kernels(incomplete: str) -> list[tuple[str, str]]:
    """Built-in kernels, with what they are."""
    from attnprof import kernels as built_in

    return [(name, built_in.find(name).summary) for name in _matching(incomplete, built_in.names())]


def models(incomplete: str) -> list[tuple[str, str]]:
    """Named models, with their papers."""
    from attnprof.core.presets import MODELS

    return [(model.name, model.source) for model in MODELS if model.name.startswith(incomplete)]


def published_models(incomplete: str) -> list[tuple[str, str]]:
    """Models whose configs are known, with their sources."""
    from attnprof.kernels.custom.published import PUBLISHED

    return [(name, PUBLISHED[name].source) for name in _matching(incomplete, PUBLISHED)]


def masks(incomplete: str) -> list[str]:
    """Built-in mask functions."""
    from attnprof.core import masks as built_in

    return _matching(incomplete, built_in.names())


def dtypes(incomplete: str) -> list[str]:
    """Dtypes."""
    from attnprof.core.workload import DType

    return _matching(incomplete, get_args(DType))


def devices(incomplete: str) -> list[str]:
    """Devices, including `auto`."""
    from attnprof.options import DEVICES

    return _matching(incomplete, DEVICES)


def modes(incomplete: str) -> list[str]:
    """Modes."""
    from attnprof.core.workload import Mode

    return _matching(incomplete, get_args(Mode))


def scopes(incomplete: str) -> list[str]:
    """Scopes."""
    from attnprof.options import SCOPES

    return _matching(incomplete, SCOPES)


def charts(incomplete: str) -> list[str]:
    """What charts can show."""
    from attnprof.report.image_forms import Chart

    return _matching(incomplete, get_args(Chart))


def guard_formats(incomplete: str) -> list[str]:
    """Formats of a guard's report."""
    from attnprof.guard.reports import FORMATS

    return _matching(incomplete, FORMATS)


def contracts(incomplete: str) -> Iterator[str]:
    """Contracts of the project here; none if its files cannot be read."""
    from attnprof.core.errors import AttnprofError
    from attnprof.guard.config import read_configuration

    try:
        yield from _matching(incomplete, read_configuration().contracts)
    except AttnprofError:
        return
