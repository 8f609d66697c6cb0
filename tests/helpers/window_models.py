"""Tiny models of each kind of window, with the masks that their papers and configs define.

The masks are written from the definitions, none with transformers' code: a list of booleans
`(query, key)` for each attention, enumerated pair by pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
MakeMask = Callable[[int], Mask]
"""From a length in tokens to who attends to whom, `(query, key)`."""

W = 8
"""The window of every model here."""

SIZES: Mapping[str, object] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "vocab_size": 40,
    "pad_token_id": 0,
}
HEADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowModel:
    """A model type with a tiny config.

    Attributes:
        config: its `config.json`, without the attention implementation.
        layers: the mask of each attention, by the path of its module.
        implementations: those that it is built with.
        has_flex: whether transformers can run it with FlexAttention on a CPU.
        declared: what its config calls the window.
    """

    config: Mapping[str, object]
    layers: Mapping[str, MakeMask]
    implementations: Sequence[str] = ("eager", "sdpa")
    has_flex: bool = True
    declared: str = "sliding_window"


def _enumerated(attends: Callable[[int, int], bool]) -> MakeMask:
    def make(n: int) -> Mask:
        return np.array([[attends(q, k) for k in range(n)] for q in range(n)])

    return make


full = _enumerated(lambda q, k: True)
causal = _enumerated(lambda q, k: k <= q)
sliding = _enumerated(lambda q, k: q - W < k <= q)
"""Mistral, section 2: W keys, the query itself and the W - 1 before it."""
both_sides = _enumerated(lambda q, k: abs(q - k) <= W // 2)
"""Longformer, section 3.1, and ModernBERT, section 2.1.2: half of the window on each side."""
chunked = _enumerated(lambda q, k: k <= q and q // W == k // W)
"""Llama 4's config: attention inside chunks of so many tokens."""


def blocks(n: int) -> Mask:
    """BigBird, appendix D: blocks beside a query's own, the first and the last, and a random one.

    The first and the last row of blocks attend to everything. Which blocks are random does not
    matter to the number of pairs, as they are none of the others: here they are the next free ones.
    """
    last = (n - 1) // W

    def regular(row: int, column: int) -> bool:
        return row in (0, last) or column in (0, last) or abs(row - column) <= 1

    free = {
        row: next((c for c in range(last) if not regular(row, c)), None) for row in range(last + 1)
    }
    return _enumerated(lambda q, k: regular(q // W, k // W) or free[q // W] == k // W)(n)


def _layers(path: str, *masks: MakeMask) -> dict[str, MakeMask]:
    return {path.format(index): mask for index, mask in enumerate(masks)}


def _decoder(
    kind: str,
    *masks: MakeMask,
    implementations: Sequence[str] = ("eager", "sdpa"),
    declared: str = "sliding_window",
    **config: object,
) -> WindowModel:
    sizes = {**SIZES, "num_hidden_layers": len(masks), "sliding_window": W}
    return WindowModel(
        config={"model_type": kind, **sizes, **config},
        layers=_layers("layers.{}.self_attn", *masks),
        implementations=implementations,
        declared=declared,
    )


MODELS: Mapping[str, WindowModel] = {
    "mistral": _decoder("mistral", sliding, sliding),
    "gemma2": _decoder("gemma2", sliding, causal, sliding, implementations=("eager",)),
    "gemma3": _decoder("gemma3_text", sliding, sliding, causal, sliding, sliding_window_pattern=3),
    "qwen2": _decoder(
        "qwen2", causal, sliding, sliding, use_sliding_window=True, max_window_layers=1
    ),
    "qwen3": _decoder(
        "qwen3", causal, causal, sliding, use_sliding_window=True, max_window_layers=2
    ),
    "phi3": _decoder("phi3", sliding, sliding),
    "cohere2": _decoder("cohere2", sliding, causal, sliding, causal, sliding_window_pattern=2),
    "llama4": _decoder(
        "llama4_text",
        *(chunked, chunked, chunked, causal),
        declared="attention_chunk_size",
        sliding_window=None,
        attention_chunk_size=W,
        intermediate_size_mlp=16,
        num_local_experts=2,
    ),
    "gpt_oss": WindowModel(
        config={
            **_decoder("gpt_oss", sliding, causal, sliding).config,
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
        },
        layers=_layers("layers.{}.self_attn", sliding, causal, sliding),
        implementations=("eager",),
        has_flex=False,
    ),
    "modernbert": WindowModel(
        config={
            "model_type": "modernbert",
            **SIZES,
            "num_hidden_layers": 4,
            "local_attention": W,
            "global_attn_every_n_layers": 3,
        },
        declared="local_attention",
        layers=_layers("layers.{}.attn", full, both_sides, both_sides, full),
    ),
    "longformer": WindowModel(
        config={
            "model_type": "longformer",
            **SIZES,
            "num_hidden_layers": 2,
            "attention_window": W,
        },
        declared="attention_window",
        layers=_layers("encoder.layer.{}.attention.self", both_sides, both_sides),
        implementations=("eager",),
        has_flex=False,
    ),
    "led": WindowModel(
        config={
            "model_type": "led",
            "d_model": 16,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "encoder_attention_heads": HEADS,
            "decoder_attention_heads": HEADS,
            "encoder_ffn_dim": 16,
            "decoder_ffn_dim": 16,
            "vocab_size": 40,
            "attention_window": W,
        },
        declared="attention_window",
        layers={
            **_layers("encoder.layers.{}.self_attn.longformer_self_attn", both_sides, both_sides),
            "decoder.layers.0.self_attn": causal,
            "decoder.layers.0.encoder_attn": full,
        },
        implementations=("eager",),
        has_flex=False,
    ),
    "big_bird": WindowModel(
        config={
            "model_type": "big_bird",
            **SIZES,
            "num_hidden_layers": 2,
            "block_size": W,
            "num_random_blocks": 1,
        },
        declared="block_size",
        layers=_layers("encoder.layer.{}.attention.self", blocks, blocks),
        implementations=("eager",),
        has_flex=False,
    ),
    "gpt_neo": WindowModel(
        config={
            "model_type": "gpt_neo",
            "hidden_size": 16,
            "num_heads": HEADS,
            "num_layers": 4,
            "intermediate_size": 16,
            "attention_types": [[["global", "local"], 2]],
            "window_size": W,
            "vocab_size": 40,
            "max_position_embeddings": 64,
        },
        declared="window_size",
        layers=_layers("h.{}.attn.attention", causal, sliding, causal, sliding),
        implementations=("eager",),
        has_flex=False,
    ),
}
"""By model type."""
