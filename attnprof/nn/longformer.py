"""transformers' `LongformerSelfAttention`, computed by `sliding_window_attention`'s tiles.

Source of what it computes: transformers, models/longformer/modeling_longformer.py, class
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
from attnprof.nn.banded.attention import Band
from attnprof.nn.banded.autograd import banded_attention
from attnprof.nn.banded.tile_kernels import accumulate_type
from attnprof.nn.projections import check_replaceable, is_plain, move_hooks
from attnprof.nn.sliding_window import Positions, checked_band, global_index


class LongformerSelfAttention(nn.Module):
    """A drop-in for the class of that name in transformers: the same numbers, in linear memory.

    It takes the same state dict, arguments and masks and returns the same tuple, pads nothing, and
    computes what that class repeats only once. `replace_in` puts it into a model.

    Args:
        config: a `LongformerConfig`, or what has its `hidden_size`, `num_attention_heads`,
            `attention_probs_dropout_prob` and `attention_window`, one for each layer.
        layer_id: which layer this is, from 0.
        dilation: positions between the keys that a query reads; one value, or one per head.

    Raises:
        ValueError: when the heads do not divide the hidden size, or the window or the dilation is
            not one that `sliding_window_attention` takes.
    """

    ignores_hooks: bool = False
    """Whether weights are read where that is cheaper, even if the projections have hooks. Set it
    where hooks only look on, as those of a profiler: the same products run with and without it."""

    def __init__(self, config: Any, layer_id: int, *, dilation: int | Sequence[int] = 1) -> None:
        super().__init__()
        heads: int = config.num_attention_heads
        width: int = config.hidden_size
        if width % heads:
            raise UsageError("num_attention_heads", heads, f"does not divide hidden_size {width}")
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
        """Puts this class in the place of transformers' in all layers of a model.

        Parameters stay the same objects, so that optimisers keep them. Projections stay the same
        modules: adapters, hooks and parametrizations keep working.

        Args:
            model: a `LongformerModel`, or a model for a task that contains one.
            dilation: of all layers.

        Returns:
            How many layers were replaced.

        Raises:
            ValueError: when the model has no layer of transformers' class, when a layer has a
                `forward` of its own or is quantised, or as the class does; the model is then as
                it was.
        """
        from transformers.models.longformer import modeling_longformer

        theirs = modeling_longformer.LongformerSelfAttention
        found = [
            (parent, name, child)
            for parent in model.modules()
            for name, child in parent.named_children()
            if isinstance(child, theirs)
        ]
        for path, layer in model.named_modules():
            if isinstance(layer, theirs):
                check_replaceable(path, layer, theirs)
        if not found:
            raise UsageError(
                "model", type(model).__name__, "has no LongformerSelfAttention of transformers"
            )
        ours = [cls._around(child, dilation) for _, _, child in found]
        for (parent, name, _), layer in zip(found, ours, strict=True):
            setattr(parent, name, layer)
        return len(found)

    @classmethod
    def _around(cls, layer: Any, dilation: int | Sequence[int]) -> LongformerSelfAttention:
        """A layer of this class with the projections of one of transformers'."""
        with torch.device("meta"):
            own = cls(layer.config, layer.layer_id, dilation=dilation)
        for name, projection in layer.named_children():
            setattr(own, name, projection)
        own.dropout = layer.dropout
        move_hooks(layer, own)
        return own.train(layer.training)

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
        """The output alone in a tuple, `(batch, seq_len, hidden)`; 0 at padded tokens.

        Args:
            hidden_states: `(batch, seq_len, hidden)`; any length.
            attention_mask: `(batch, seq_len)`: below 0 at padded tokens, above 0 at global ones.
            is_index_masked: bool, true at padded tokens; from `attention_mask` if None.
            is_index_global_attn: bool, true at global tokens; from `attention_mask` if None.
            is_global_attn: False if no token is global, whatever the masks say.
            output_attentions: must be false: the weights are never in memory all at once.
            global_positions: in place of the masks, as in `sliding_window_attention`; known before
                the call, they need no look into a tensor.

        Raises:
            ValueError: when weights are asked for, a mask has another shape, or global positions
                lie outside.
        """
        if output_attentions:
            raise UsageError(
                "output_attentions",
                output_attentions,
                "computes no tensor of weights; transformers' LongformerSelfAttention does",
            )
        _check_masks(
            hidden_states,
            attention_mask=attention_mask,
            is_index_masked=is_index_masked,
            is_index_global_attn=is_index_global_attn,
        )
        padded = _marked(is_index_masked, attention_mask, lambda mask: mask < 0)
        if global_positions is None:
            marks = None
            if is_global_attn is not False:
                marks = _marked(is_index_global_attn, attention_mask, lambda mask: mask > 0)
            global_positions = () if marks is None else marks
        batch, seq_len, _ = hidden_states.shape
        band = checked_band(
            batch, self.num_heads, seq_len, self.window, self.dilation, global_positions
        )
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
            may_overwrite_query=self._may_read(self.query),  # else somebody else may hold it
        )
        output = output.transpose(1, 2).flatten(2)
        if padded is not None:
            # What goes backward keeps its output.
            fill = output.masked_fill if output.requires_grad else output.masked_fill_
            output = fill(padded.unsqueeze(-1), 0.0)
        return (output,)

    def _may_read(self, projection: nn.Module) -> bool:
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
        """What global tokens read, `(batch, heads, globals, head_dim)`."""
        index = global_index(band, hidden_states.device)
        sequence = torch.arange(len(index), device=index.device).unsqueeze(1)
        query = self._heads(self.query_global(hidden_states[sequence, index]))
        bias = None
        if padded is not None:
            bias = hidden_states.new_zeros(padded.shape).masked_fill(padded, -torch.inf)
        seq_len, globals_ = hidden_states.shape[1], index.shape[1]
        may_read = self._may_read(self.key_global) and self._may_read(self.value_global)
        if may_read and should_absorb_projection(seq_len, self.embed_dim, self.num_heads, globals_):
            return self._read_unprojected(query, hidden_states, bias, dropout_p)
        return scaled_dot_product_attention(
            query,
            self._heads(self.key_global(hidden_states)),
            self._heads(self.value_global(hidden_states)),
            attn_mask=None if bias is None else bias[:, None, None],
            dropout_p=dropout_p,
            scale=self._scale,
        )

    def _read_unprojected(
        self, query: Tensor, hidden_states: Tensor, bias: Tensor | None, dropout_p: float
    ) -> Tensor:
        """Reads the hidden states, projected neither to keys nor to values: see `global_rows`.

        Args:
            query: `(batch, heads, globals, head_dim)`.
            hidden_states: `(batch, seq_len, hidden)`.
            bias: added to the scores, `(batch, seq_len)`.
            dropout_p: probability with which a weight is dropped.
        """
        heads, globals_ = query.shape[1:3]
        query = query * self._scale
        of_heads = (heads, self.head_dim)
        asked = _per_head(query, self.key_global.weight.unflatten(0, of_heads))
        scores = asked.flatten(1, 2) @ hidden_states.transpose(1, 2)
        scores = scores.unflatten(1, (heads, globals_))
        scores = scores + (query * self.key_global.bias.view(heads, 1, -1)).sum(-1, keepdim=True)
        if bias is not None:
            scores = scores + bias[:, None, None]
        weights = scores.softmax(-1, dtype=accumulate_type(scores)).to(scores.dtype)
        weights = dropout(weights, dropout_p)
        context = (weights.flatten(1, 2) @ hidden_states).unflatten(1, (heads, globals_))
        projection = self.value_global.weight.unflatten(0, of_heads).transpose(1, 2)
        shares = weights.sum(-1, keepdim=True) * self.value_global.bias.view(heads, 1, -1)
        return _per_head(context, projection) + shares


def _check_masks(hidden_states: Tensor, **masks: Tensor | None) -> None:
    expected = tuple(hidden_states.shape[:2])
    for name, mask in masks.items():
        if mask is not None and tuple(mask.shape) != expected:
            raise UsageError(name, tuple(mask.shape), f"(batch, seq_len) = {expected}")


def _per_head(rows: Tensor, matrices: Tensor) -> Tensor:
    """`(batch, heads, rows, n)` times `(heads, n, m)`."""
    batch, _, count, _ = rows.shape
    products = rows.transpose(0, 1).flatten(1, 2) @ matrices
    return products.unflatten(1, (batch, count)).transpose(0, 1)


def _marked(
    given: Tensor | None, mask: Tensor | None, reading: Callable[[Tensor], Tensor]
) -> Tensor | None:
    """Bool marks as given, or as the mask reads; None where no token is marked."""
    if given is None and mask is not None:
        given = reading(mask)
    if given is None or torch.compiler.is_compiling():
        return given
    return given if bool(given.any()) else None
