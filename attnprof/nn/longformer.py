"""transformers' `LongformerSelfAttention`, computed as in `sliding_window_attention`.

It also has what transformers' class has not: causal windows, grouped heads, heads of any width.

Source of the definition: transformers, models/longformer/modeling_longformer.py, class
LongformerSelfAttention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attnprof.core.errors import UsageError
from attnprof.core.global_queries import GlobalQueries
from attnprof.core.pattern import AttentionPattern
from attnprof.nn.banded.autograd import banded_attention
from attnprof.nn.banded.band import Band
from attnprof.nn.banded.implementation import Chosen, Implementation, check_triton, chosen
from attnprof.nn.global_rows import RowWeights, attend_absorbed, attend_projected, global_index
from attnprof.nn.projections import check_replaceable, is_plain, move_hooks
from attnprof.nn.sliding_window import Positions, checked_band
from attnprof.nn.window_cache import WindowCache, WindowCacheLayer, decode_attention


class LongformerSelfAttention(nn.Module):
    """A drop-in replacement for the class of the same name in transformers.

    It computes the same outputs in linear time and memory, without the products that transformers'
    class repeats. State dict, arguments, masks and the returned tuple are the same; sequences of
    any length need no padding, and heads may be dilated. `replace_in` puts it into a model.

    A causal layer has no global projections: its global tokens are attention sinks, ordinary tokens
    to which all later ones attend. Nor has a dense layer, where all tokens attend to all.

    Source: transformers, models/longformer/modeling_longformer.py, class LongformerSelfAttention;
    Longformer, arXiv 2004.05150, section 3.1.

    Args:
        config: a `LongformerConfig`, or an object with its `hidden_size`, `num_attention_heads`,
            `attention_probs_dropout_prob` and `attention_window`: one window per layer, as in
            `sliding_window_attention`, or None for a dense layer. Optional, as in transformers'
            decoders: `num_key_value_heads`, heads of keys and values that query heads share;
            `head_dim`, the width of a head; and `v_head_dim`, that of values.
        layer_id: index of the layer, from 0, which selects its window.
        dilation: stride in tokens between neighbouring keys of a query; one value, or one per
            head.
        causal: whether no query attends to a later key.
        implementation: what computes the attention to the window, as in `sliding_window_attention`.

    Raises:
        ValueError: if the number of heads does not divide the hidden size and no `head_dim` is
            given, if `num_key_value_heads` does not divide it, or if the window or dilation is not
            valid for `sliding_window_attention`.
    """

    ignores_hooks: bool = False
    """Whether to use the weights of projections directly where that is cheaper, even if they have
    hooks. Set it if hooks only observe, as those of a profiler do: then the same products run with
    and without hooks."""

    def __init__(
        self,
        config: Any,
        layer_id: int,
        *,
        dilation: int | Sequence[int] = 1,
        causal: bool = False,
        implementation: Implementation = "auto",
    ) -> None:
        super().__init__()
        heads: int = config.num_attention_heads
        hidden: int = config.hidden_size
        head_dim: int | None = getattr(config, "head_dim", None)
        if head_dim is None and hidden % heads:
            raise UsageError("num_attention_heads", heads, f"must divide hidden_size {hidden}")
        self.num_heads = heads
        self.kv_heads: int = getattr(config, "num_key_value_heads", None) or heads
        if heads % self.kv_heads:
            expected = f"must divide num_attention_heads {heads}"
            raise UsageError("num_key_value_heads", self.kv_heads, expected)
        self.head_dim = head_dim or hidden // heads
        self.value_dim: int = getattr(config, "v_head_dim", None) or self.head_dim
        self.embed_dim = hidden
        self.window: int | tuple[int, int] | None = config.attention_window[layer_id]
        self._pattern = _pattern(self.window, dilation, heads, causal=causal)
        self.dilation = self._pattern.dilation
        self.causal = causal
        self._computed_by: Chosen = chosen(implementation)
        self._has_global_rows = not causal and self.window is not None
        widths = (
            heads * self.head_dim,
            self.kv_heads * self.head_dim,
            self.kv_heads * self.value_dim,
        )
        self.query, self.key, self.value = _projections(hidden, *widths)
        if self._has_global_rows:
            self.query_global, self.key_global, self.value_global = _projections(hidden, *widths)
        self.dropout: float = config.attention_probs_dropout_prob
        self.layer_id = layer_id
        self.config = config

    @classmethod
    def replace_in(cls, model: nn.Module, *, dilation: int | Sequence[int] = 1) -> int:
        """Replace transformers' class by this one in all layers of a model, in place.

        Parameters remain the same objects, so that optimisers keep them. Projections remain the
        same modules, so that adapters, hooks and parametrizations keep working.

        Args:
            model: a `LongformerModel`, or a model for a task that contains one.
            dilation: of all layers; one value, or one per head.

        Returns:
            The number of layers replaced.

        Raises:
            ValueError: if the model has no layer of transformers' class, if such a layer overrides
                `forward` or is quantised, or if the dilation is not valid. The model is then
                unchanged.
        """
        from transformers.models.longformer import modeling_longformer

        known = modeling_longformer.LongformerSelfAttention
        replaceable = [
            (parent, name, child)
            for parent in model.modules()
            for name, child in parent.named_children()
            if isinstance(child, known)
        ]
        for path, layer in model.named_modules():
            if isinstance(layer, known):
                check_replaceable(path, layer, known)
        if not replaceable:
            raise UsageError(
                "model", type(model).__name__, "has no LongformerSelfAttention of transformers"
            )
        replacements = [cls._around(child, dilation) for _, _, child in replaceable]
        for (parent, name, _), replacement in zip(replaceable, replacements, strict=True):
            setattr(parent, name, replacement)
        return len(replaceable)

    @classmethod
    def _around(cls, layer: Any, dilation: int | Sequence[int]) -> LongformerSelfAttention:
        """A layer of this class with the projections of a layer of transformers'."""
        with torch.device("meta"):
            replacement = cls(layer.config, layer.layer_id, dilation=dilation)
        for name, projection in layer.named_children():
            setattr(replacement, name, projection)
        replacement.dropout = layer.dropout
        move_hooks(layer, replacement)
        return replacement.train(layer.training)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        is_index_masked: Tensor | None = None,
        is_index_global_attn: Tensor | None = None,
        is_global_attn: bool | None = None,
        output_attentions: bool = False,
        *,
        global_positions: Positions | None = None,
        cache: WindowCache | None = None,
    ) -> tuple[Tensor]:
        """Self-attention of the hidden states.

        Args:
            hidden_states: `(batch, seq_len, hidden)`; any length.
            attention_mask: `(batch, seq_len)`, below 0 at padded tokens, above 0 at global tokens.
            is_index_masked: bool `(batch, seq_len)`, true at padded tokens; from `attention_mask`
                if None.
            is_index_global_attn: bool `(batch, seq_len)`, true at global tokens; from
                `attention_mask` if None.
            is_global_attn: if False, no token is global, whatever the masks contain.
            output_attentions: must be False: the attention weights are never materialised.
            global_positions: global tokens, in place of the masks, in the forms of
                `sliding_window_attention`. Lists of ints avoid reading a tensor, which on CUDA
                synchronises, and allow `torch.compile` without graph breaks.
            cache: of a causal layer, the keys and values of earlier tokens: the hidden states are
                those of the next ones, and are added to it. It replaces masks and global positions.

        Returns:
            A tuple with the output `(batch, seq_len, heads * value_dim)`, which is as wide as the
            hidden states unless the config has other widths, and is 0 at padded tokens.

        Raises:
            ValueError: if attention weights are requested, a mask has another shape, or a global
                position is outside the sequence.
        """
        if output_attentions:
            raise UsageError(
                "output_attentions",
                output_attentions,
                "attention weights are not computed; use transformers' LongformerSelfAttention "
                "for them",
            )
        if cache is not None:
            return (self._decode(hidden_states, cache.layers[self.layer_id]),)
        _check_masks(
            hidden_states,
            attention_mask=attention_mask,
            is_index_masked=is_index_masked,
            is_index_global_attn=is_index_global_attn,
        )
        padded = _true_at_tokens(is_index_masked, attention_mask, lambda mask: mask < 0)
        if global_positions is None:
            is_global = None
            if is_global_attn is not False:
                is_global = _true_at_tokens(
                    is_index_global_attn, attention_mask, lambda mask: mask > 0
                )
            global_positions = () if is_global is None else is_global
        batch, seq_len, _ = hidden_states.shape
        if self.window is None:
            global_positions = ()
        band = checked_band(batch, seq_len, self._pattern, global_positions)
        return (_zero_padded(self._attend(hidden_states, padded, band), padded),)

    def _attend(self, hidden_states: Tensor, padded: Tensor | None, band: Band) -> Tensor:
        """The attention output `(batch, seq_len, width)`, before padded tokens are set to 0."""
        dropout_p = self.dropout if self.training else 0.0
        rows = None
        if self._has_global_rows and any(band.global_positions):
            rows = self._global_rows(hidden_states, padded, band, dropout_p)
        query = _heads(self.query(hidden_states), self.head_dim)
        key = _heads(self.key(hidden_states), self.head_dim)
        value = _heads(self.value(hidden_states), self.value_dim)
        if self._computed_by == "triton":
            check_triton(query, value, dropout_p)
        output = banded_attention(
            query,
            key,
            value,
            rows,
            padded,
            band,
            scale=self._scale,
            dropout_p=dropout_p,
            # A hook or another module may hold a reference to the query.
            may_overwrite_query=self._may_use_weights(self.query),
            implementation=self._computed_by,
        )
        return output.transpose(1, 2).flatten(2)

    def _decode(self, hidden_states: Tensor, layer: WindowCacheLayer) -> Tensor:
        """The output `(batch, new tokens, width)` of tokens after those in a cache."""
        query = self.query(hidden_states).unflatten(-1, (self.num_heads, -1))
        layer.update(
            _heads(self.key(hidden_states), self.head_dim),
            _heads(self.value(hidden_states), self.value_dim),
        )
        return decode_attention(query, layer, scale=self._scale).flatten(2)

    def _may_use_weights(self, projection: nn.Module) -> bool:
        return is_plain(projection, ignores_hooks=self.ignores_hooks)

    @property
    def _scale(self) -> float:
        return self.head_dim**-0.5

    def _global_rows(
        self, hidden_states: Tensor, padded: Tensor | None, band: Band, dropout_p: float
    ) -> Tensor:
        """The attention outputs of global tokens, `(batch, heads, globals, value_dim)`."""
        index = global_index(band, hidden_states.device)
        sequence = torch.arange(len(index), device=index.device).unsqueeze(1)
        query = _heads(self.query_global(hidden_states[sequence, index]), self.head_dim)
        weights = RowWeights(padded=padded, scale=self._scale, dropout_p=dropout_p)
        queries = GlobalQueries(
            num_globals=index.shape[1],
            seq_len=hidden_states.shape[1],
            hidden_size=self.embed_dim,
            num_heads=self.num_heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            value_dim=self.value_dim,
        )
        may_absorb = self._may_use_weights(self.key_global) and self._may_use_weights(
            self.value_global
        )
        if may_absorb and queries.is_absorbed:
            return attend_absorbed(
                query, hidden_states, self.key_global, self.value_global, self.kv_heads, weights
            )
        key = _heads(self.key_global(hidden_states), self.head_dim)
        value = _heads(self.value_global(hidden_states), self.value_dim)
        return attend_projected(query, key, value, weights)


def _pattern(
    window: int | tuple[int, int] | None,
    dilation: int | Sequence[int],
    heads: int,
    *,
    causal: bool,
) -> AttentionPattern:
    """The pattern of a layer without its global tokens; dense if the window is None."""
    if window is None:
        return AttentionPattern.dense(heads, causal=causal)
    return AttentionPattern.sliding(window, dilation, num_heads=heads, causal=causal)


def _projections(hidden_size: int, *widths: int) -> tuple[nn.Linear, ...]:
    return tuple(nn.Linear(hidden_size, width) for width in widths)


def _heads(projected: Tensor, width: int) -> Tensor:
    """`(batch, heads, tokens, width)`, a view of `(batch, tokens, heads * width)`."""
    return projected.unflatten(-1, (-1, width)).transpose(1, 2)


def _check_masks(hidden_states: Tensor, **masks: Tensor | None) -> None:
    expected = tuple(hidden_states.shape[:2])
    for name, mask in masks.items():
        if mask is not None and tuple(mask.shape) != expected:
            raise UsageError(name, tuple(mask.shape), f"must be (batch, seq_len) = {expected}")


def _zero_padded(output: Tensor, padded: Tensor | None) -> Tensor:
    """The output with 0 at padded tokens; in place if autograd does not need the output."""
    if padded is None:
        return output
    fill = output.masked_fill if output.requires_grad else output.masked_fill_
    return fill(padded.unsqueeze(-1), 0.0)


def _true_at_tokens(
    flags: Tensor | None, mask: Tensor | None, to_flags: Callable[[Tensor], Tensor]
) -> Tensor | None:
    """Bool flags of tokens, or those of the mask if None; None if no token has the flag."""
    if flags is None and mask is not None:
        flags = to_flags(mask)
    if flags is None or torch.compiler.is_compiling():
        return flags
    return flags if bool(flags.any()) else None
