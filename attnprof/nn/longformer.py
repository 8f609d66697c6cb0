"""transformers' `LongformerSelfAttention`, computed as in `sliding_window_attention`.

Source of the definition: transformers, models/longformer/modeling_longformer.py, class
LongformerSelfAttention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, scaled_dot_product_attention

from attnprof.core.errors import UsageError
from attnprof.core.formulas import should_absorb_projection
from attnprof.nn.banded.autograd import banded_attention
from attnprof.nn.banded.band import Band
from attnprof.nn.banded.tile_kernels import accumulate_type
from attnprof.nn.projections import check_replaceable, is_plain, move_hooks
from attnprof.nn.sliding_window import Positions, checked_band, global_index


class LongformerSelfAttention(nn.Module):
    """A drop-in replacement for the class of the same name in transformers.

    It computes the same outputs in linear time and memory, without the products that transformers'
    class repeats. State dict, arguments, masks and the returned tuple are the same; sequences of
    any length need no padding, and heads may be dilated. `replace_in` puts it into a model.

    Source: transformers, models/longformer/modeling_longformer.py, class LongformerSelfAttention;
    Longformer, arXiv 2004.05150, section 3.1.

    Args:
        config: a `LongformerConfig`, or an object with its `hidden_size`, `num_attention_heads`,
            `attention_probs_dropout_prob` and `attention_window` (one window per layer, in keys).
        layer_id: index of the layer, from 0, which selects its window.
        dilation: stride in tokens between neighbouring keys of a query; one value, or one per
            head.

    Raises:
        ValueError: if the number of heads does not divide the hidden size, or if the window or
            dilation is not valid for `sliding_window_attention`.
    """

    ignores_hooks: bool = False
    """Whether to use the weights of projections directly where that is cheaper, even if they have
    hooks. Set it if hooks only observe, as those of a profiler do: then the same products run with
    and without hooks."""

    def __init__(self, config: Any, layer_id: int, *, dilation: int | Sequence[int] = 1) -> None:
        super().__init__()
        heads: int = config.num_attention_heads
        width: int = config.hidden_size
        if width % heads:
            raise UsageError("num_attention_heads", heads, f"must divide hidden_size {width}")
        self.num_heads = heads
        self.head_dim = width // heads
        self.embed_dim = width
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.query_global = nn.Linear(width, width)
        self.key_global = nn.Linear(width, width)
        self.value_global = nn.Linear(width, width)
        self.dropout: float = config.attention_probs_dropout_prob
        self.layer_id = layer_id
        self.window: int = config.attention_window[layer_id]
        self.dilation = checked_band(1, heads, 1, self.window, dilation, ()).dilation
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

        Returns:
            A tuple with the output `(batch, seq_len, hidden)`, which is 0 at padded tokens.

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
        band = checked_band(
            batch, self.num_heads, seq_len, self.window, self.dilation, global_positions
        )
        return (_zero_padded(self._attend(hidden_states, padded, band), padded),)

    def _attend(self, hidden_states: Tensor, padded: Tensor | None, band: Band) -> Tensor:
        """The attention output `(batch, seq_len, hidden)`, before padded tokens are set to 0."""
        dropout_p = self.dropout if self.training else 0.0
        rows = None
        if any(band.global_positions):
            rows = self._global_rows(hidden_states, padded, band, dropout_p)
        output = banded_attention(
            self._heads(self.query(hidden_states)),
            self._heads(self.key(hidden_states)),
            self._heads(self.value(hidden_states)),
            rows,
            padded,
            band,
            scale=self._scale,
            dropout_p=dropout_p,
            # A hook or another module may hold a reference to the query.
            may_overwrite_query=self._may_use_weights(self.query),
        )
        return output.transpose(1, 2).flatten(2)

    def _may_use_weights(self, projection: nn.Module) -> bool:
        return is_plain(projection, ignores_hooks=self.ignores_hooks)

    @property
    def _scale(self) -> float:
        return self.head_dim**-0.5

    def _heads(self, projected: Tensor) -> Tensor:
        """`(batch, heads, tokens, head_dim)`, a view of `(batch, tokens, hidden)`."""
        return projected.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def _global_rows(
        self, hidden_states: Tensor, padded: Tensor | None, band: Band, dropout_p: float
    ) -> Tensor:
        """The attention outputs of global tokens, `(batch, heads, globals, head_dim)`."""
        index = global_index(band, hidden_states.device)
        sequence = torch.arange(len(index), device=index.device).unsqueeze(1)
        query = self._heads(self.query_global(hidden_states[sequence, index]))
        bias = None
        if padded is not None:
            bias = hidden_states.new_zeros(padded.shape).masked_fill(padded, -torch.inf)
        may_absorb = self._may_use_weights(self.key_global) and self._may_use_weights(
            self.value_global
        )
        if may_absorb and should_absorb_projection(
            hidden_states.shape[1], self.embed_dim, self.num_heads, index.shape[1]
        ):
            return self._attend_unprojected(query, hidden_states, bias, dropout_p)
        return scaled_dot_product_attention(
            query,
            self._heads(self.key_global(hidden_states)),
            self._heads(self.value_global(hidden_states)),
            attn_mask=None if bias is None else bias[:, None, None],
            dropout_p=dropout_p,
            scale=self._scale,
        )

    def _attend_unprojected(
        self, query: Tensor, hidden_states: Tensor, bias: Tensor | None, dropout_p: float
    ) -> Tensor:
        """The outputs of global tokens with the projections of keys and values absorbed.

        Queries are multiplied with the key projection, and contexts with the value projection, so
        that attention uses the hidden states directly: see `formulas.absorbed_global_macs`.

        Args:
            query: `(batch, heads, globals, head_dim)`.
            hidden_states: `(batch, seq_len, hidden)`.
            bias: added to the scores, `(batch, seq_len)`; None for none.
            dropout_p: probability with which an attention weight is dropped.
        """
        heads, globals_ = query.shape[1:3]
        query = query * self._scale
        of_heads = (heads, self.head_dim)
        absorbed = _per_head(query, self.key_global.weight.unflatten(0, of_heads))
        scores = absorbed.flatten(1, 2) @ hidden_states.transpose(1, 2)
        scores = scores.unflatten(1, (heads, globals_))
        scores = scores + (query * self.key_global.bias.view(heads, 1, -1)).sum(-1, keepdim=True)
        if bias is not None:
            scores = scores + bias[:, None, None]
        weights = scores.softmax(-1, dtype=accumulate_type(scores)).to(scores.dtype)
        weights = dropout(weights, dropout_p)
        context = (weights.flatten(1, 2) @ hidden_states).unflatten(1, (heads, globals_))
        projection = self.value_global.weight.unflatten(0, of_heads).transpose(1, 2)
        value_bias = weights.sum(-1, keepdim=True) * self.value_global.bias.view(heads, 1, -1)
        return _per_head(context, projection) + value_bias


def _check_masks(hidden_states: Tensor, **masks: Tensor | None) -> None:
    expected = tuple(hidden_states.shape[:2])
    for name, mask in masks.items():
        if mask is not None and tuple(mask.shape) != expected:
            raise UsageError(name, tuple(mask.shape), f"must be (batch, seq_len) = {expected}")


def _per_head(rows: Tensor, matrices: Tensor) -> Tensor:
    """`(batch, heads, rows, n)` times `(heads, n, m)`: `(batch, heads, rows, m)`."""
    batch, _, count, _ = rows.shape
    products = rows.transpose(0, 1).flatten(1, 2) @ matrices
    return products.unflatten(1, (batch, count)).transpose(0, 1)


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
