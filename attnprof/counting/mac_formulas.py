"""MACs of single operators, from the shapes that they are called with.

A formula takes the operator's arguments by the names of its schema, and `result`, what it returned.
It returns MACs, or None where shapes do not tell them. The products that an operator executes are
counted, masked ones too, as far as torch's source tells which it skips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch

from attnprof.counting import banded_formulas, layer_formulas
from attnprof.counting.constant_propagation import NumbersNeededError, constant_value

Formula = Callable[..., "int | None"]
"""Takes the operator's arguments by name and `result`; returns MACs."""

Target = Any
"""An operator as `torch.ops` names it, all overloads: `torch.ops.aten.mm`."""

_FORMULAS: dict[Target, Formula] = {**banded_formulas.FORMULAS, **layer_formulas.FORMULAS}
_aten = torch.ops.aten

_FORWARD_PRODUCTS = 2
"""Scores and context."""

_QUERY_BLOCKS = ((768, 256), (192, 64), (0, 32))

_KEY_BLOCK = 512


def register_mac_formula(target: Target, formula: Formula) -> None:
    """Count an operator by a formula of one's own from now on.

    ```python
    register_mac_formula(torch.ops.mylib.band, lambda query, window, **_: query.numel() * window)
    ```

    Args:
        target: an operator with all its overloads, `torch.ops.mylib.band`, or a higher-order
            operator, or a Triton kernel.
        formula: called with the operator's arguments by the names of its schema, and with
            `result`; returns MACs. A higher-order operator's arguments come by position.

    Raises:
        TypeError: when `target` is something else, such as one overload.
    """
    if isinstance(target, torch._ops.OpOverload) or not (
        isinstance(target, torch._ops.OpOverloadPacket | torch._ops.HigherOrderOperator)
        or hasattr(target, "__triton_name__")
        or hasattr(target, "run")
    ):
        raise TypeError(f"an operator such as torch.ops.aten.mm is needed, not {target!r}")
    _FORMULAS[target] = formula


def formula_of(target: Target) -> Formula | None:
    """The formula of an operator with all its overloads, None if there is none."""
    return _FORMULAS.get(target)


def arguments_of(
    operator: torch._ops.OpOverload, args: Sequence[Any], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by the names of the operator's schema, defaults included."""
    bound: dict[str, Any] = {}
    for index, argument in enumerate(operator._schema.arguments):
        if index < len(args):
            bound[argument.name] = args[index]
        elif argument.name in kwargs:
            bound[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            bound[argument.name] = argument.default_value
    return bound


def _formula(*names: str) -> Callable[[Formula], Formula]:
    """Register a formula of torch's own operators, of those that this torch has."""

    def register(formula: Formula) -> Formula:
        for name in names:
            if hasattr(_aten, name):
                _FORMULAS[getattr(_aten, name)] = formula
        return formula

    return register


# --- products -------------------------------------------------------------------------------------


def product_macs(left: Sequence[int], right: Sequence[int]) -> int:
    """MACs of `left (…, m, k) @ right (…, k, n)`."""
    return math.prod(left) * right[-1]


@_formula("mm", "bmm", "_int_mm", "_scaled_mm", "_scaled_mm_v2")
def _mm(self: Tensor, mat2: Tensor, **_: Any) -> int:
    return product_macs(self.shape, mat2.shape)


@_formula("addmm", "_addmm_activation")
def _addmm(mat1: Tensor, mat2: Tensor, **_: Any) -> int:
    return product_macs(mat1.shape, mat2.shape)


@_formula("baddbmm", "addbmm")
def _baddbmm(batch1: Tensor, batch2: Tensor, **_: Any) -> int:
    return product_macs(batch1.shape, batch2.shape)


@_formula("mv")
def _mv(self: Tensor, **_: Any) -> int:
    return self.numel()


@_formula("addmv", "addmv_")
def _addmv(mat: Tensor, **_: Any) -> int:
    return mat.numel()


@_formula("dot", "vdot")
def _dot(self: Tensor, **_: Any) -> int:
    return self.numel()


@_formula("addr")
def _addr(vec1: Tensor, vec2: Tensor, **_: Any) -> int:
    return vec1.numel() * vec2.numel()


@_formula("_weight_int8pack_mm")
def _weight_int8pack_mm(self: Tensor, mat2: Tensor, **_: Any) -> int:
    return math.prod(self.shape) * mat2.shape[0]


@_formula("_weight_int4pack_mm")
def _weight_int4pack_mm(self: Tensor, result: Tensor, **_: Any) -> int:
    return math.prod(self.shape) * result.shape[-1]


@_formula("linear", "mkldnn_linear")
def _linear(weight: Tensor, result: Tensor, **_: Any) -> int:
    return result.numel() * weight.shape[-1]


@_formula("_grouped_mm", "_scaled_grouped_mm")
def _grouped_mm(self: Tensor, mat2: Tensor, offs: Tensor | None = None, **_: Any) -> int:
    """Rows of a 2-d operand are dealt to the groups, each to one; those behind the last to none.

    Where the ends of the groups are not known, all of them are dealt.
    """
    if offs is None or self.dim() == mat2.dim() == 3:
        return product_macs(self.shape, mat2.shape)
    ends = constant_value(offs)
    if self.dim() == 2:  # its rows, or the numbers that are summed
        axis = 0 if mat2.dim() == 3 else 1
        dealt = self.shape[axis] if ends is None else _last(ends)
        return dealt * self.shape[1 - axis] * mat2.shape[-1]
    dealt = mat2.shape[-1] if ends is None else _last(ends)
    return math.prod(self.shape[1:]) * dealt


def _last(ends: Tensor) -> int:
    with no_dispatch():
        return int(ends[-1])


# --- convolutions ---------------------------------------------------------------------------------


def _filter_macs(inputs: Tensor, weight: Tensor, outputs: Tensor, transposed: bool) -> int:
    """Each output gathers one filter; transposed, each input is spread by one. Groups included."""
    return (inputs if transposed else outputs).numel() * (weight.numel() // weight.shape[0])


@_formula("convolution", "_convolution", "convolution_overrideable")
def _convolution(input: Tensor, weight: Tensor, transposed: bool, result: Tensor, **_: Any) -> int:
    return _filter_macs(input, weight, result, transposed)


@_formula(
    "cudnn_convolution",
    "miopen_convolution",
    "mkldnn_convolution",
    "thnn_conv2d",
    "_slow_conv2d_forward",
    "slow_conv3d_forward",
    "_conv_depthwise2d",
    "conv_depthwise3d",
)
def _direct_convolution(weight: Tensor, result: Tensor, **_: Any) -> int:
    return result.numel() * (weight.numel() // weight.shape[0])


@_formula("convolution_backward", "convolution_backward_overrideable")
def _convolution_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    transposed: bool,
    output_mask: Sequence[bool],
    **_: Any,
) -> int:
    """The gradients of input and weight each take the products of the forward pass."""
    return sum(output_mask[:2]) * _filter_macs(input, weight, grad_output, transposed)


# --- fused attention ------------------------------------------------------------------------------


def _pairs_macs(query: Sequence[int], key: Sequence[int], value: Sequence[int]) -> tuple[int, int]:
    """MACs of all scores and of all contexts; grouped queries have their own scores."""
    scores = math.prod(query) * key[-2]
    return scores, scores // query[-1] * value[-1]


def _causal_pairs(queries: int, keys: int) -> int:
    """Pairs of the lower triangle that begins at the first query and the first key."""
    triangle = min(queries, keys)
    return triangle * (triangle + 1) // 2 + max(0, queries - keys) * keys


def _causal_cpu_pairs(queries: int, keys: int) -> int:
    """Pairs that the CPU's fused attention multiplies when it is causal.

    A block of queries reads whole blocks of 512 keys as far as its last query sees. Source:
    aten/src/ATen/native/cpu/FlashAttentionKernel.cpp, cpu_flash_attention.
    """
    rows = min(queries, next(block for least, block in _QUERY_BLOCKS if queries >= least))
    pairs = 0
    for first in range(0, queries, rows):
        count = min(rows, queries - first)
        seen = min(first + count, keys)
        pairs += count * min(keys, -(-seen // _KEY_BLOCK) * _KEY_BLOCK)
    return pairs


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int]) -> int:
    return sum(_pairs_macs(query, key, value))


def _attention_backward(query: Sequence[int], key: Sequence[int], value: Sequence[int]) -> int:
    """Scores once more, and the gradients of query and key; those of weights and value."""
    scores, context = _pairs_macs(query, key, value)
    return 3 * scores + 2 * context


def _of_pairs(macs: int, pairs: int, queries: int, keys: int) -> int:
    """The part of the MACs of all pairs that so many of them make up."""
    return macs * pairs // (queries * keys) if queries * keys else 0


def _causal_part(macs: int, query: Tensor, key: Tensor, is_causal: bool) -> int:
    if not is_causal:
        return macs
    queries, keys = query.shape[-2], key.shape[-2]
    return _of_pairs(macs, _causal_pairs(queries, keys), queries, keys)


@_formula(
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
    "_scaled_dot_product_attention_math_for_mps",
)
def _fused(query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, **_: Any) -> int:
    """All pairs; causal ones without those above the diagonal, which the kernels skip by tiles."""
    return _causal_part(_attention(query.shape, key.shape, value.shape), query, key, is_causal)


@_formula(
    "_scaled_dot_product_efficient_attention_backward",
    "_scaled_dot_product_flash_attention_backward",
    "_scaled_dot_product_cudnn_attention_backward",
    "_scaled_dot_product_fused_attention_overrideable_backward",
)
def _fused_backward(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, **_: Any
) -> int:
    macs = _attention_backward(query.shape, key.shape, value.shape)
    return _causal_part(macs, query, key, is_causal)


def _cpu_part(macs: int, query: Tensor, key: Tensor, is_causal: bool) -> int:
    if not is_causal:
        return macs
    queries, keys = query.shape[-2], key.shape[-2]
    return _of_pairs(macs, _causal_cpu_pairs(queries, keys), queries, keys)


@_formula("_scaled_dot_product_flash_attention_for_cpu")
def _fused_for_cpu(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, **_: Any
) -> int:
    return _cpu_part(_attention(query.shape, key.shape, value.shape), query, key, is_causal)


@_formula("_scaled_dot_product_flash_attention_for_cpu_backward")
def _fused_for_cpu_backward(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool = False, **_: Any
) -> int:
    macs = _attention_backward(query.shape, key.shape, value.shape)
    return _cpu_part(macs, query, key, is_causal)


def _sequences(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_ends: Tensor | None,
    key_ends: Tensor | None,
    backward: bool,
    is_causal: bool,
) -> int | None:
    """Attention of tensors `(batch, seq_len, heads, head_dim)`, or of packed sequences."""
    count = _attention_backward if backward else _attention

    def macs(queries: int, keys: int, batch: int) -> int:
        heads = query.shape[-2]
        shape = (batch, heads, queries, query.shape[-1])
        whole = count(shape, (batch, heads, keys, 0), (batch, heads, keys, value.shape[-1]))
        if not is_causal:
            return whole
        return _of_pairs(whole, _causal_pairs(queries, keys), queries, keys)

    if query_ends is None or query_ends.numel() == 0:
        return macs(query.shape[1], key.shape[1], query.shape[0])
    of_queries = constant_value(query_ends)
    of_keys = of_queries if key_ends is None else constant_value(key_ends)
    if of_queries is None or of_keys is None:
        raise NumbersNeededError("how the rows are dealt to sequences is data")
    with no_dispatch():
        queries, keys = (ends.diff().tolist() for ends in (of_queries, of_keys))
    return sum(macs(q, k, 1) for q, k in zip(queries, keys, strict=True))


@_formula("_flash_attention_forward", "_cudnn_attention_forward")
def _flash_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cum_seq_q: Tensor | None = None,
    cum_seq_k: Tensor | None = None,
    is_causal: bool = False,
    **_: Any,
) -> int | None:
    return _sequences(query, key, value, cum_seq_q, cum_seq_k, False, is_causal)


@_formula("_flash_attention_backward", "_cudnn_attention_backward")
def _flash_backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cum_seq_q: Tensor | None = None,
    cum_seq_k: Tensor | None = None,
    is_causal: bool = False,
    **_: Any,
) -> int | None:
    return _sequences(query, key, value, cum_seq_q, cum_seq_k, True, is_causal)


@_formula("_efficient_attention_forward")
def _efficient_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    custom_mask_type: int = 0,
    **_: Any,
) -> int | None:
    return _sequences(query, key, value, cu_seqlens_q, cu_seqlens_k, False, bool(custom_mask_type))


@_formula("_efficient_attention_backward")
def _efficient_backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    custom_mask_type: int = 0,
    **_: Any,
) -> int | None:
    return _sequences(query, key, value, cu_seqlens_q, cu_seqlens_k, True, bool(custom_mask_type))


# --- FlexAttention --------------------------------------------------------------------------------


def block_mask_pairs(block_mask: tuple[Any, ...], query: Tensor, key: Tensor) -> int:
    """Pairs of the blocks that a block mask lists, over batch and heads.

    Blocks at the end of a sequence are as long as what is left of it.

    Raises:
        NumbersNeededError: where its numbers are not known.
    """
    _, _, partial, partial_indices, full, full_indices, *rest = block_mask
    *_, rows, columns, _ = rest
    queries, keys = query.shape[-2], key.shape[-2]
    pairs = 0
    for numbers, indices in ((partial, partial_indices), (full, full_indices)):
        if numbers is None:
            continue
        numbers, indices = constant_value(numbers), constant_value(indices)
        if numbers is None or indices is None:
            raise NumbersNeededError("which blocks a block mask lists is data")
        with no_dispatch():
            is_listed = torch.arange(indices.shape[-1], device=indices.device) < numbers[..., None]
            width = (keys - indices.long() * columns).clamp(0, columns) * is_listed
            first = torch.arange(indices.shape[-2], device=indices.device) * rows
            height = (queries - first).clamp(0, rows)
            listed = int((width.sum(-1) * height).sum())
        batch, heads = indices.shape[:2]
        pairs += listed * (query.shape[0] // batch) * (query.shape[1] // heads)
    return pairs


def _flex(query: Tensor, key: Tensor, value: Tensor, *args: Any, **_: Any) -> int:
    return block_mask_pairs(args[1], query, key) * (query.shape[-1] + value.shape[-1])


def _flex_backward(query: Tensor, key: Tensor, value: Tensor, *args: Any, **_: Any) -> int:
    # out, logsumexp, grad_out, grad_logsumexp, fw_graph, joint_graph, block_mask, …
    pairs = block_mask_pairs(args[6], query, key)
    return pairs * (3 * query.shape[-1] + 2 * value.shape[-1])


_FORMULAS[torch.ops.higher_order.flex_attention] = _flex
_FORMULAS[torch.ops.higher_order.flex_attention_backward] = _flex_backward
