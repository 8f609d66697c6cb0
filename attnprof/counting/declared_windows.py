"""Windows that a model declares: in its Hugging Face config, or as attributes of its modules.

What a config says is not always what is computed: `attnprof windows` compares it with the masks.
Each name has its library's meaning, read in transformers' `masking_utils.py` and the models' files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

_INDEX = re.compile(r"(?<![^.])(\d+)(?![^.])")
_CROSS_ATTENTION = re.compile(r"cross|encoder_attn|EncDec", re.IGNORECASE)

_MODULE_ATTRIBUTES = (
    "sliding_window",
    "window_size",
    "attention_window",
    "local_attention",
    "window",
)
"""What own modules call their window."""

_LOCAL_LAYERS = ("sliding_attention", "local_attention", "local", "sliding")


@dataclass(frozen=True, slots=True)
class DeclaredWindow:
    """The window of one layer.

    Attributes:
        name: what the config or the module calls it, such as `sliding_window`.
        size: its value.
        reach: tokens of the longest sequence of which it hides no pair.
    """

    name: str
    size: int
    reach: int


def declared_windows(root: Any, paths: Iterable[str]) -> dict[str, DeclaredWindow]:
    """The windows that modules declare, by their paths; layers without one are left out.

    Args:
        root: the module that is called.
        paths: of the modules that compute attention, as in `OperatorCounts`.
    """
    found = {path: _declared(root, path) for path in paths}
    return {path: window for path, window in found.items() if window is not None}


def _declared(root: Any, path: str) -> DeclaredWindow | None:
    """The window of the innermost module that declares one, or has a config that knows."""
    if _CROSS_ATTENTION.search(path):
        return None
    chain = _modules_along(root, path)
    layer = _layer_index(chain, path)
    for module in reversed(chain):
        config = getattr(module, "config", None)
        for rule in _CONFIG_RULES if config is not None else ():
            is_known, window = rule(config, layer, chain)
            if is_known:
                return window
    for module in reversed(chain):
        window = _of_module(module)
        if window is not None:
            return window
    return None


def _modules_along(root: Any, path: str) -> list[Any]:
    """The root, then each module on the way to the path, as far as there are modules."""
    chain = [root]
    for name in path.split(".") if path else []:
        inner = dict(chain[-1].named_children()).get(name)
        if inner is None:
            break
        chain.append(inner)
    return chain


def _layer_index(chain: list[Any], path: str) -> int | None:
    """The number of the layer, from the innermost module that knows it, or else from its path."""
    for module in reversed(chain):
        for name in ("layer_idx", "layer_id"):
            number = getattr(module, name, None)
            if isinstance(number, int):
                return number
    numbers = _INDEX.findall(path)
    return int(numbers[-1]) if numbers else None


_Found = tuple[bool, DeclaredWindow | None]
"""Whether a rule applies to a config, and the window that it has for a layer."""

_NO_RULE: _Found = (False, None)


def _of_layer_types(config: Any, layer: int | None, chain: list[Any]) -> _Found:
    """`layer_types`, one for each layer, with `sliding_window` or `attention_chunk_size`."""
    kinds = getattr(config, "layer_types", None)
    if not kinds or layer is None or layer >= len(kinds):
        return _NO_RULE
    if kinds[layer] == "chunked_attention":
        return True, _within(config, "attention_chunk_size")
    if kinds[layer] in _LOCAL_LAYERS:
        return True, _local_attention(config, chain) or _within(config, "sliding_window")
    return True, None


def _of_attention_layers(config: Any, layer: int | None, chain: list[Any]) -> _Found:
    """GPT-Neo's `attention_layers`, each `global` or `local`, with `window_size`."""
    kinds = getattr(config, "attention_layers", None)
    if not isinstance(kinds, list | tuple) or layer is None or layer >= len(kinds):
        return _NO_RULE
    return True, _within(config, "window_size") if kinds[layer] in _LOCAL_LAYERS else None


def _of_every_n_layers(config: Any, layer: int | None, chain: list[Any]) -> _Found:
    """ModernBERT's `local_attention`, except in every n-th layer from the first."""
    every = getattr(config, "global_attn_every_n_layers", None)
    local = _local_attention(config, chain)
    if not every or local is None or layer is None:
        return _NO_RULE
    return True, local if layer % every else None


def _of_longformer(config: Any, layer: int | None, chain: list[Any]) -> _Found:
    """Longformer's and LED's `attention_window`: total, half of it on each side.

    Only of the encoder, whose attention has one half of it as an attribute.
    """
    if getattr(config, "attention_window", None) is None:
        return _NO_RULE
    halves = [getattr(module, "one_sided_attn_window_size", None) for module in chain]
    half = next((half for half in reversed(halves) if isinstance(half, int)), None)
    window = None if half is None else DeclaredWindow("attention_window", 2 * half, half + 1)
    return True, window


def _of_blocks(config: Any, layer: int | None, chain: list[Any]) -> _Found:
    """BigBird's `block_size`: up to 5 + 2 r blocks are attended to in full, with r random ones.

    Not of its decoders, which are dense.
    """
    if getattr(config, "attention_type", None) != "block_sparse":
        return _NO_RULE
    if any(getattr(module, "is_decoder", False) for module in chain):
        return True, None
    size, random = config.block_size, config.num_random_blocks
    return True, DeclaredWindow("block_size", size, (5 + 2 * random) * size)


def _of_all_layers(config: Any, layer: int | None, chain: list[Any]) -> _Found:
    """`sliding_window` or `attention_chunk_size` of every layer, or of those from a layer on."""
    if getattr(config, "use_sliding_window", True) is False:
        return True, None
    first = getattr(config, "max_window_layers", None)
    if isinstance(first, int) and layer is not None and layer < first:
        return True, None
    window = _within(config, "sliding_window") or _within(config, "attention_chunk_size")
    return (True, window) if window else _NO_RULE


_CONFIG_RULES: tuple[Callable[[Any, int | None, list[Any]], _Found], ...] = (
    _of_layer_types,
    _of_attention_layers,
    _of_every_n_layers,
    _of_longformer,
    _of_blocks,
    _of_all_layers,
)
"""The first that applies to the innermost config decides."""


def _within(config: Any, name: str) -> DeclaredWindow | None:
    """So many keys, the query itself among them, or chunks of so many tokens."""
    size = getattr(config, name, None)
    return DeclaredWindow(name, size, size) if _is_size(size) else None


def _local_attention(config: Any, chain: list[Any]) -> DeclaredWindow | None:
    """ModernBERT's window: half of `local_attention` on each side, or before a query if causal."""
    size = getattr(config, "local_attention", None)
    if not _is_size(size):
        return None
    is_causal = any(getattr(module, "is_causal", False) for module in chain)
    return DeclaredWindow("local_attention", size, size // 2 + (not is_causal))


def _of_module(module: Any) -> DeclaredWindow | None:
    """The window that a module has as an attribute; it may be total, or on each side of a query."""
    for name in _MODULE_ATTRIBUTES:
        value = getattr(module, name, None)
        sides = cast("Sequence[object]", value) if isinstance(value, list | tuple) else (value,)
        widths = [side for side in sides if _is_size(side) or side == 0]
        if len(widths) == len(sides) and any(widths):
            widest = max(width for width in widths if isinstance(width, int))
            return DeclaredWindow(name, widest, widest + 1)
    return None


def _is_size(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
