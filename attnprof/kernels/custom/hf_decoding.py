"""Decoding with a transformers model: the prompt fills its own cache, then new tokens run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from attnprof.core.pattern import AttentionPattern
from attnprof.core.units import format_bytes, format_tokens
from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.filled_cache import (
    CACHE_ARGUMENTS,
    FilledCache,
    allocated_bytes,
    cache_argument,
    drop_unused_memory,
    static_cache_bytes,
)

_NO_CACHE = "has no cache of keys and values to decode with"
_ENCODER_DECODER = "decoding of encoder-decoder models is not costed"

MakeInputs = Callable[[Workload], dict[str, Any]]
"""Makes the inputs of a model for all tokens of a workload that is not decoding."""


@dataclass(frozen=True, slots=True)
class CacheSizes:
    """Bytes of a model's cache after a call.

    Attributes:
        dynamic: allocated by transformers' `DynamicCache`, its default.
        static: allocated by its `StaticCache` for as many tokens; None where it has none.
    """

    dynamic: int
    static: int | None

    def note(self, workload: Workload) -> str:
        """The sizes as text."""
        static = "" if self.static is None else f", in its StaticCache {format_bytes(self.static)}"
        return (
            f"cache at {format_tokens(workload.seq_len)}: {format_bytes(self.dynamic)} in "
            f"transformers' DynamicCache{static}"
        )


def why_not_decoded(model: Any, make_inputs: MakeInputs) -> str | None:
    """Why a model cannot decode, None if it can; it is run with a prompt of two tokens.

    Args:
        model: on fake tensors, inside a fake mode.
        make_inputs: makes its inputs.
    """
    if model.config.is_encoder_decoder:
        return _ENCODER_DECODER
    if not cache_argument(model):
        return _NO_CACHE
    config = model.config.get_text_config()
    prompt = Workload(AttentionPattern.dense(1), 2, hidden_size=config.hidden_size)
    return None if hasattr(_filled(model, make_inputs(prompt)), "layers") else _NO_CACHE


def decoding_arguments(
    model: Any, make_inputs: MakeInputs, workload: Workload
) -> tuple[dict[str, Any], FilledCache]:
    """The arguments of a call on the new tokens, and the cache among them.

    The model itself fills its cache with the tokens before them. A described `attention_mask`
    covers all tokens.

    Args:
        model: a model that returns a cache.
        make_inputs: makes its inputs.
        workload: the call, in mode `decode`.
    """
    from transformers import DynamicCache

    tokens = replace(workload, mode="inference", new_tokens=0)
    earlier = workload.seq_len - workload.queries
    if earlier:
        cache = _filled(model, make_inputs(tokens.at(earlier)))
        drop_unused_memory(cache)
    else:
        cache = DynamicCache(config=model.config)
    inputs = make_inputs(tokens.at(workload.queries))
    if "attention_mask" in inputs:
        inputs["attention_mask"] = make_inputs(tokens)["attention_mask"]
    return {**inputs, cache_argument(model): cache, "use_cache": True}, FilledCache(cache)


def cache_sizes(call: Call, config: Any, workload: Workload) -> CacheSizes:
    """Sizes of the cache of a call after it has run.

    Args:
        call: as `decoding_arguments` has made its arguments.
        config: of the model.
        workload: what the call was made for.
    """
    cache = next(call.kwargs[name] for name in CACHE_ARGUMENTS if name in call.kwargs)
    return CacheSizes(
        allocated_bytes(FilledCache(cache).tensors()),
        static_cache_bytes(cache, config, workload.seq_len),
    )


def _filled(model: Any, inputs: Mapping[str, Any]) -> Any:
    """The cache that the model returns after a prompt; None where it returns none."""
    with torch.no_grad():
        output = model(**inputs, use_cache=True)
    return next((output[name] for name in CACHE_ARGUMENTS if name in output), None)
