"""Reads a Hugging Face `config.json`; whatever in it names code to fetch is left out."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from attnprof.core.errors import UsageError
from attnprof.core.units import format_bytes
from attnprof.kernels.custom.reference import Reference

MAX_CONFIG_BYTES = 10 * 2**20
_FILE = "config.json"
_CODE_FROM_ELSEWHERE = ("auto_map", "custom_pipelines")
"""What names code in a repository; left out, so that none is ever fetched or run."""

_IMPLEMENTATIONS: dict[str, tuple[str, ...]] = {
    "attn_implementation": ("eager", "sdpa", "flex_attention"),
    "experts_implementation": ("eager", "batched_mm", "grouped_mm"),
}
"""What a config may choose between, and the choices whose code is transformers' own."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A config as it was read.

    Attributes:
        path: of the file.
        config_class: transformers' class of its type.
        values: what it says, without what names code to fetch.
        architecture: the class that it names, such as `LlamaForCausalLM`; empty where it names
            none.
        notes: the implementations that it names and that are left out, in words.
    """

    path: Path
    config_class: Any
    values: dict[str, Any]
    architecture: str
    notes: tuple[str, ...]


def read_config(reference: Reference) -> ConfigFile:
    """The config that a reference names.

    Raises:
        UsageError: for a file that cannot be read, that is no config, or whose type transformers
            does not know.
    """
    path, values = _path(reference), _read(reference)
    config_class = _config_class(reference.name, values)
    left_out: dict[str, None] = {}
    _strip(values, left_out)
    architectures = values.get("architectures")
    named = cast("list[object]", architectures) if isinstance(architectures, list) else []
    architecture = named[0] if named and isinstance(named[0], str) else ""
    return ConfigFile(path, config_class, values, architecture, tuple(left_out))


def _path(reference: Reference) -> Path:
    path = Path(reference.place)
    return path / _FILE if path.is_dir() else path


def _read(reference: Reference) -> dict[str, Any]:
    """The config's values.

    Raises:
        UsageError: for a file that cannot be read, or that is none.
    """
    path, name = _path(reference), reference.name
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_CONFIG_BYTES:
            size, limit = format_bytes(size_bytes), format_bytes(MAX_CONFIG_BYTES)
            raise UsageError("kernel", name, f"{path} has {size}: a config has {limit} at most")
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError("kernel", name, f"there is no file {path}") from None
    except OSError as error:
        raise UsageError("kernel", name, f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError("kernel", name, f"{path} is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise UsageError("kernel", name, f"{path} is no config: an object with model_type is one")
    return cast("dict[str, Any]", values)


def _config_class(name: str, values: dict[str, Any]) -> Any:
    """The class of the config's type."""
    from transformers import CONFIG_MAPPING

    kind = values.get("model_type")
    if not isinstance(kind, str) or not kind:
        raise UsageError("kernel", name, 'the config has no "model_type", such as "bert"')
    if kind not in CONFIG_MAPPING:
        if "auto_map" in values:
            raise UsageError(
                "kernel",
                name,
                f"its type {kind} needs code from its repository, which attnprof never runs",
            )
        close = difflib.get_close_matches(kind, list(CONFIG_MAPPING.keys()), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError("kernel", name, f"transformers knows no model_type {kind}{hint}")
    return CONFIG_MAPPING[kind]


def _strip(values: dict[str, Any], left_out: dict[str, None]) -> None:
    """Take out what would fetch code, here and in the configs of parts."""
    for key in _CODE_FROM_ELSEWHERE:
        values.pop(key, None)
    for name, own in _IMPLEMENTATIONS.items():
        for key in (f"_{name}_internal", f"_{name}", name):
            value = values.pop(key, None)
            chosen = _own(value, own)
            if chosen:
                values[name] = chosen
            for foreign in _words(value):
                if foreign not in own:
                    left_out[f"{name} {foreign} is left out: its code is not transformers' own"] = (
                        None
                    )
    for value in values.values():
        if isinstance(value, dict):
            _strip(cast("dict[str, Any]", value), left_out)


def _own(value: object, own: tuple[str, ...]) -> object:
    """The choices that are transformers' own; one for each part where the value is an object."""
    if isinstance(value, dict):
        parts = cast("Mapping[str, object]", value).items()
        return {part: chosen for part, one in parts if (chosen := _own(one, own))}
    return value if isinstance(value, str) and value in own else None


def _words(value: object) -> list[str]:
    """What a value names, in all parts."""
    if isinstance(value, dict):
        return [w for one in cast("Mapping[str, object]", value).values() for w in _words(one)]
    return [] if value is None else [str(value)[:100]]
