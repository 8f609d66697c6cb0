"""Parses references to custom kernels; needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from attnprof.core.errors import UsageError
from attnprof.kernels.custom.inputs import InputSpec, parse_input
from attnprof.kernels.custom.published import PUBLISHED

_OBJECT = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*(?:\.[^\W\d]\w*)*)")
_PART = "::"


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference.

    Attributes:
        name: the text as the user wrote it.
        kind: an object in a Python module, or a model by its config.
        location: the module; the path of the config or of its folder, or the name of a published
            one.
        inner: the name in the module, or the part of the model; empty for a complete model.
        inputs: descriptions of its inputs.
    """

    name: str
    kind: Literal["python", "config"]
    location: str
    inner: str
    inputs: tuple[InputSpec, ...]


def is_reference(name: str) -> bool:
    """Whether a name refers to a custom kernel: has a colon or a slash, or is that of a config."""
    base, _ = _without_inputs(name)
    return ":" in base or "/" in base or base.endswith(".json") or _is_known(base)


def _is_known(location: str) -> bool:
    """Whether it is a folder, or the name of a published config."""
    return Path(location).is_dir() or location in PUBLISHED


def parse_reference(name: str) -> Reference:
    """The parts of a reference; whether they exist is not checked.

    Raises:
        UsageError: when the name is not a reference, or describes an input twice or wrongly.
    """
    base, _ = _without_inputs(name)
    inputs = inputs_of(name)
    _check_once(inputs, "kernel")
    path, has_part, part = base.partition(_PART)
    if has_part and not part:
        raise UsageError("kernel", name, f"name a part of the model after {_PART}")
    if has_part or path.endswith(".json") or _is_known(path):
        return Reference(name, "config", path, part, inputs)
    match = _OBJECT.fullmatch(base)
    if match:
        return Reference(name, "python", match[1], match[2], inputs)
    if ":" in base:
        raise UsageError(
            "kernel", name, "name a Python module and an object in it, such as pkg.mod:Net"
        )
    raise UsageError("kernel", name, "no such folder")


def inputs_of(name: str) -> tuple[InputSpec, ...]:
    """The descriptions of inputs in a reference.

    Raises:
        UsageError: when one of them is not a description.
    """
    return tuple(parse_input(word, "kernel") for word in _without_inputs(name)[1])


def with_inputs(name: str, words: Iterable[str]) -> str:
    """The reference with further inputs, each as `NAME=DIMS`; they replace those of the same name.

    Raises:
        UsageError: when one of them is not a description.
    """
    added = {parse_input(word, "input").name: word for word in words}
    base, described = _without_inputs(name)
    specs = {parse_input(word, "kernel").name: word for word in described} | added
    return f"{base}({';'.join(specs.values())})" if specs else base


def split_names(text: str) -> list[str]:
    """The names in a comma-separated list; commas inside parentheses belong to a name."""
    return [name.strip() for name in re.split(r",(?![^()]*\))", text)]


def _without_inputs(name: str) -> tuple[str, list[str]]:
    """The reference without its parentheses, and the descriptions in these."""
    if not name.endswith(")") or "(" not in name:
        return name, []
    base, _, described = name[:-1].partition("(")
    return base, described.split(";")


def _check_once(inputs: tuple[InputSpec, ...], argument: str) -> None:
    """Check that no input is described twice.

    Raises:
        UsageError: when one is.
    """
    names = [spec.name for spec in inputs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(argument, name, "is described twice; describe it once")
