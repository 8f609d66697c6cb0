"""A cache of keys and values that holds no more than the windows of later tokens, and sinks.

Each layer has what its pattern lets a later query attend to: the last keys, as many as its window
spans, and the attention sinks before them. Sources: the rolling buffer of Mistral 7B, arXiv
2310.06825, section 2; attention sinks, StreamingLLM, arXiv 2309.17453, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from attnprof.core.errors import UsageError
from attnprof.core.pattern import AttentionPattern
from attnprof.nn.window_tokens import HeldTokens, attended_keys, shared_heads


class WindowCache:
    """The cached keys and values of several layers.

    Args:
        patterns: of the layers; each must be causal.

    Attributes:
        layers: one for each pattern.

    Raises:
        UsageError: (a `ValueError`) for a pattern that is not causal.
    """

    def __init__(self, patterns: Iterable[AttentionPattern]) -> None:
        self.layers = [WindowCacheLayer(pattern) for pattern in patterns]


class WindowCacheLayer:
    """The cached keys and values of one layer.

    Args:
        pattern: its pattern, with global tokens as attention sinks.

    Attributes:
        keys: `(batch, kv_heads, held, head_dim)`; None if empty.
        values: `(batch, kv_heads, held, value_dim)`.
        held: the tokens that they are of.

    Raises:
        UsageError: (a `ValueError`) if the pattern is not causal.
    """

    def __init__(self, pattern: AttentionPattern) -> None:
        if not pattern.causal:
            raise UsageError("causal", False, "must be True to decode with a cache")
        self.pattern = pattern
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.held = HeldTokens()

    def update(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add tokens, and drop those to which neither they nor later ones attend.

        Args:
            key: of the new tokens, `(batch, kv_heads, new, head_dim)`.
            value: `(batch, kv_heads, new, value_dim)`.

        Returns:
            All keys and values that it now holds.
        """
        before = self.held
        kept = HeldTokens.of(self.pattern, before.seq_len)
        if self.keys is not None and self.values is not None and len(kept):
            slices = before.slices_of(kept.sinks, range(kept.start, kept.seq_len))
            key = torch.cat([*(self.keys[:, :, part] for part in slices), key], 2)
            value = torch.cat([*(self.values[:, :, part] for part in slices), value], 2)
        new = key.shape[2] - len(kept)
        self.keys, self.values = key, value
        self.held = HeldTokens(kept.sinks, kept.start, before.seq_len + new)
        return key, value


def decode_attention(query: Tensor, layer: WindowCacheLayer, *, scale: float) -> Tensor:
    """Attention of the newest tokens in a cache, each against the keys that it attends to only.

    Args:
        query: `(batch, new, heads, head_dim)`.
        layer: with the keys and values of the new tokens and of those to which they attend.
        scale: factor of the scores.

    Returns:
        `(batch, new, heads, value_dim)`.
    """
    keys, values, held = layer.keys, layer.values, layer.held
    assert keys is not None
    assert values is not None
    batch, new, heads, _ = query.shape
    output = query.new_empty(batch, new, heads, values.shape[3])
    for group in shared_heads(layer.pattern.dilation, keys.shape[1]):
        of_group = slice(group.queries.start, group.queries.stop)
        key, value = (tensor[:, group.keys.start : group.keys.stop] for tensor in (keys, values))
        for token in range(new):
            position = held.seq_len - new + token
            sinks, window = attended_keys(layer.pattern, group.stride, position)
            slices = held.slices_of(sinks, window)
            # The query heads of a group share their keys, as the queries of one head do.
            output[:, token, of_group] = functional.scaled_dot_product_attention(
                query[:, token, of_group].unflatten(1, (len(group.keys), -1)),
                _gathered(key, slices),
                _gathered(value, slices),
                scale=scale,
            ).flatten(1, 2)
    return output


def _gathered(tensor: Tensor, slices: Sequence[slice]) -> Tensor:
    """The keys or values in slices: a view of one, a copy of several."""
    parts = [tensor[:, :, part] for part in slices]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)
