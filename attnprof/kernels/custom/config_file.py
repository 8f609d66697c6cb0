"""Reads a Hugging Face `config.json`, without what names code to download."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from attnprof.core.errors import UsageError
from attnprof.core.units import format_bytes
from attnprof.kernels.custom import published
from attnprof.kernels.custom.inputs import InputSpec, parse_input
from attnprof.kernels.custom.published import PublishedConfig
from attnprof.kernels.custom.reference import Reference

MAX_CONFIG_BYTES = 10 * 2**20
_FILE = "config.json"
_REMOTE_CODE_KEYS = ("auto_map", "custom_pipelines")
"""Keys that name code in a repository; removed, so that none is ever downloaded or run."""

_IMPLEMENTATIONS: dict[str, tuple[str, ...]] = {
    "attn_implementation": ("eager", "sdpa", "flex_attention"),
    "experts_implementation": ("eager", "batched_mm", "grouped_mm"),
}
"""Settings that choose an implementation, with the choices whose code is part of transformers."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A parsed config.

    Attributes:
        path: the file; of a published config, the module that lists these.
        config_class: transformers' class for its `model_type`.
        values: its content, without keys that name code to download.
        architecture: the model class that it names, such as `LlamaForCausalLM`; empty where it
            names none.
        notes: a sentence for each implementation that it names and that is left out.
        inputs: descriptions of its inputs, those of the reference and of a published config.
    """

    path: Path
    config_class: Any
    values: dict[str, Any]
    architecture: str
    notes: tuple[str, ...]
    inputs: tuple[InputSpec, ...]


def read_config(reference: Reference) -> ConfigFile:
    """The config that a reference names.

    Raises:
        UsageError: when the file cannot be read, is not a config, or has a `model_type` that
            transformers does not have.
    """
    known = _published(reference)
    path = _path(reference) if known is None else Path(published.__file__)
    values = _read(reference) if known is None else copy.deepcopy(dict(known.values))
    config_class = _config_class(reference.name, values)
    notes = tuple(dict.fromkeys(_remove_foreign_code(values)))
    own = () if known is None else [parse_input(word, "kernel") for word in known.inputs]
    inputs = {spec.name: spec for spec in (*own, *reference.inputs)}
    return ConfigFile(
        path, config_class, values, _architecture(values), notes, tuple(inputs.values())
    )


def check_file(reference: Reference) -> None:
    """Refuse a file that no config can be in; loads neither torch nor transformers.

    Raises:
        UsageError: when the file cannot be read or is not a JSON object.
    """
    if _published(reference) is None:
        _read(reference)


def _published(reference: Reference) -> PublishedConfig | None:
    """The published config that a reference names; None where it names a folder or a file."""
    is_folder = Path(reference.location).is_dir()
    return None if is_folder else published.PUBLISHED.get(reference.location)


def _architecture(values: dict[str, Any]) -> str:
    """The first model class that a config names; empty where it names none."""
    architectures = values.get("architectures")
    names = cast("list[object]", architectures) if isinstance(architectures, list) else []
    return names[0] if names and isinstance(names[0], str) else ""


def _path(reference: Reference) -> Path:
    """The config's path, where the reference names it or its folder."""
    path = Path(reference.location)
    return path / _FILE if path.is_dir() else path


def _read(reference: Reference) -> dict[str, Any]:
    """The content of the config.

    Raises:
        UsageError: when the file cannot be read or is not a JSON object.
    """
    path, name = _path(reference), reference.name
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_CONFIG_BYTES:
            size, limit = format_bytes(size_bytes), format_bytes(MAX_CONFIG_BYTES)
            raise UsageError("kernel", name, f"{path} is {size}; a config must be at most {limit}")
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError("kernel", name, f"no such file: {path}") from None
    except OSError as error:
        raise UsageError("kernel", name, f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError("kernel", name, f"{path} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        expected = "is not a config: expected a JSON object with model_type"
        raise UsageError("kernel", name, f"{path} {expected}")
    return cast("dict[str, Any]", values)


def _config_class(name: str, values: dict[str, Any]) -> Any:
    """Transformers' class for the config's `model_type`.

    Raises:
        UsageError: when transformers has none; suggests a similar name.
    """
    from transformers import CONFIG_MAPPING

    kind = values.get("model_type")
    if not isinstance(kind, str) or not kind:
        raise UsageError("kernel", name, 'the config has no "model_type", such as "bert"')
    if kind not in CONFIG_MAPPING:
        if "auto_map" in values:
            raise UsageError(
                "kernel",
                name,
                f"its model_type {kind} needs code from its repository, which attnprof never runs",
            )
        close = difflib.get_close_matches(kind, list(CONFIG_MAPPING.keys()), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError("kernel", name, f"transformers has no model_type {kind}{hint}")
    return CONFIG_MAPPING[kind]


def _remove_foreign_code(values: dict[str, Any]) -> list[str]:
    """Remove what would download code, here and in the configs of parts.

    Returns:
        A note for each implementation that was removed.
    """
    notes: list[str] = []
    for key in _REMOTE_CODE_KEYS:
        values.pop(key, None)
    for name, choices in _IMPLEMENTATIONS.items():
        for key in (f"_{name}_internal", f"_{name}", name):
            value = values.pop(key, None)
            kept = _choices_kept(value, choices)
            if kept:
                values[name] = kept
            notes += [
                f"{name} {removed} is left out: its code is not part of transformers"
                for removed in _names_in(value)
                if removed not in choices
            ]
    for value in values.values():
        if isinstance(value, dict):
            notes += _remove_foreign_code(cast("dict[str, Any]", value))
    return notes


def _choices_kept(value: object, choices: tuple[str, ...]) -> object:
    """The value where it is one of the choices; of an object, its parts where they are."""
    if isinstance(value, dict):
        parts = cast("Mapping[str, object]", value).items()
        return {part: kept for part, choice in parts if (kept := _choices_kept(choice, choices))}
    return value if isinstance(value, str) and value in choices else None


def _names_in(value: object) -> list[str]:
    """The implementations that a value names, those of parts included."""
    if isinstance(value, dict):
        parts = cast("Mapping[str, object]", value).values()
        return [name for part in parts for name in _names_in(part)]
    return [] if value is None else [str(value)[:100]]
