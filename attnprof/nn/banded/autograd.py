"""Banded attention as one differentiable function, and as one operator for `torch.compile`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from attnprof.nn.banded import attention
from attnprof.nn.banded.band import Band
from attnprof.nn.banded.implementation import Chosen
from attnprof.nn.banded.tile_kernels import is_fused


def banded_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    global_rows: Tensor | None,
    key_padding_mask: Tensor | None,
    band: Band,
    *,
    scale: float,
    dropout_p: float,
    may_overwrite_query: bool = False,
    implementation: Chosen = "tiles",
) -> Tensor:
    """Differentiable attention to a dilated band and to global keys, linear in length.

    Args:
        query: `(batch, heads, seq_len, head_dim)`; any strides.
        key: `(batch, kv_heads, seq_len, head_dim)`; kv_heads divides heads.
        value: `(batch, kv_heads, seq_len, value_dim)`.
        global_rows: the outputs of global tokens that attend to all tokens, `(batch, heads,
            globals, value_dim)`, where globals is the largest number of a sequence; None if there
            are none.
        key_padding_mask: bool `(batch, seq_len)`, true for padded keys; None if there are none.
        band: which keys the queries attend to.
        scale: factor of the scores.
        dropout_p: probability with which an attention weight is dropped.
        may_overwrite_query: whether the output may be written to `query`, to save memory; this is
            done if no gradient is needed and values are as wide as queries.
        implementation: what computes it.

    Returns:
        `(batch, heads, seq_len, value_dim)`.
    """
    tensors = [t for t in (query, key, value, global_rows) if t is not None]
    has_gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    inputs = (query, key, value, global_rows, key_padding_mask)
    is_as_wide = query.shape[3] == value.shape[3]
    is_in_place = may_overwrite_query and not has_gradient and is_as_wide
    is_operator = implementation == "triton" or _is_shape_only(query, value, dropout_p)
    if is_operator or torch.compiler.is_compiling():
        # One operator: loops over tiles would be unrolled into the graph, or compute nothing, and
        # no mode of torch would see kernels of Triton.
        if is_in_place and not torch.compiler.is_compiling():
            _in_place_operator(*inputs, *_band_to_schema(band), scale, implementation)
            return query
        return _operator(*inputs, *_band_to_schema(band), scale, dropout_p, implementation)[0]
    if has_gradient:
        return _Differentiable.apply(*inputs, band, scale, dropout_p)
    output = query if is_in_place else None
    return attention.forward(*inputs, band, scale, dropout_p, output)[0]


def _kernels(implementation: str) -> ModuleType:
    """The module with `forward` and `backward` of an implementation; imports Triton if needed."""
    if implementation == "triton":
        from attnprof.nn.banded import triton_attention

        return triton_attention
    return attention


def _is_shape_only(query: Tensor, value: Tensor, dropout_p: float) -> bool:
    """Whether tensors have no data, in a case that torch's fused attention on CPU would compute."""
    has_no_data = query.is_meta or isinstance(query, FakeTensor)
    return has_no_data and is_fused(query, value, dropout_p)


class _Differentiable(torch.autograd.Function):
    """Forward and backward in tiles.

    Autograd cannot do it: torch's fused attention has no derivative of its log-sum-exp, by which
    the results of band and global keys are merged.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        global_rows: Tensor | None,
        key_padding_mask: Tensor | None,
        band: Band,
        scale: float,
        dropout_p: float,
    ) -> Tensor:
        """`attention.forward`; saves what `backward` needs."""
        ctx.constants = band, scale, dropout_p
        ctx.globals = 0 if global_rows is None else global_rows.shape[2]
        ctx.random_state = _random_state(query.device) if dropout_p else None
        output, log_sum_exp = attention.forward(
            query, key, value, global_rows, key_padding_mask, band, scale, dropout_p
        )
        ctx.save_for_backward(query, key, value, key_padding_mask, output, log_sum_exp)
        return output

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        """Gradients of query, key, value and global rows; None for the other arguments."""
        (grad_output,) = grad_outputs
        query, key, value, key_padding_mask, output, log_sum_exp = ctx.saved_tensors
        band, scale, dropout_p = ctx.constants
        with torch.no_grad(), _replay_rng(ctx.random_state, query.device):
            gradients = attention.backward(
                grad_output,
                query,
                key,
                value,
                key_padding_mask,
                band,
                scale,
                dropout_p,
                output,
                log_sum_exp,
            )
        if torch.is_grad_enabled():
            gradients = (
                _NoSecondDerivative.apply(gradient, query, key, value, grad_output)
                for gradient in gradients
            )
        of_rows = _rows_gradient(grad_output, band, ctx.globals)
        return *gradients, of_rows, None, None, None, None


class _NoSecondDerivative(torch.autograd.Function):
    """The identity, which raises in backward: as constants, gradients would be silently wrong."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *differentiable: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise RuntimeError("sliding_window_attention supports first derivatives only")


def _rows_gradient(grad_output: Tensor, band: Band, num_globals: int) -> Tensor | None:
    """The gradient of `global_rows`, `(batch, heads, num_globals, value_dim)`; None if there are 0.

    It is 0 beyond the last global token of a sequence.
    """
    if num_globals == 0:
        return None
    batch, heads, _, value_dim = grad_output.shape
    gradient = grad_output.new_zeros((batch, heads, num_globals, value_dim))
    for item, positions in enumerate(band.global_positions):
        index = torch.tensor(positions, dtype=torch.int64, device=grad_output.device)
        gradient[item, :, : len(positions)] = grad_output[item][:, index]
    return gradient


def _random_state(device: torch.device) -> Tensor:
    """The state of the device's random number generator."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


@contextmanager
def _replay_rng(state: Tensor | None, device: torch.device) -> Generator[None]:
    """Within the context, draw random numbers from that state; the generator is restored after."""
    if state is None:
        yield
        return
    is_cuda = device.type == "cuda"
    with torch.random.fork_rng([device] if is_cuda else []):
        if is_cuda:
            torch.cuda.set_rng_state(state, device)
        else:
            torch.set_rng_state(state)
        yield


def _band_to_schema(band: Band) -> tuple[list[int], list[int], bool, list[int], list[int]]:
    """A band in types of an operator's schema.

    Keys before and after a query, dilation, whether it is causal, the global positions of all
    sequences, and their number in each sequence.
    """
    positions = [position for of_item in band.global_positions for position in of_item]
    counts = [len(of_item) for of_item in band.global_positions]
    return list(band.sides), list(band.dilation), band.causal, positions, counts


def _band(
    sides: Sequence[int],
    dilation: Sequence[int],
    causal: bool,
    positions: Sequence[int],
    counts: Sequence[int],
) -> Band:
    """The inverse of `_band_to_schema`."""
    ends = [sum(counts[: item + 1]) for item in range(len(counts))]
    left, right = sides
    return Band(
        sides=(left, right),
        dilation=tuple(dilation),
        causal=causal,
        global_positions=tuple(
            tuple(positions[end - count : end]) for end, count in zip(ends, counts, strict=True)
        ),
    )


@torch.library.custom_op("attnprof::banded_attention", mutates_args=())
def _operator(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    global_rows: Tensor | None,
    key_padding_mask: Tensor | None,
    sides: Sequence[int],
    dilation: Sequence[int],
    causal: bool,
    positions: Sequence[int],
    counts: Sequence[int],
    scale: float,
    dropout_p: float,
    implementation: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """`forward` of an implementation: output, log-sum-exp, and the random state before dropout."""
    state = _random_state(query.device) if dropout_p else torch.empty(0, dtype=torch.uint8)
    band = _band(sides, dilation, causal, positions, counts)
    output, log_sum_exp = _kernels(implementation).forward(
        query, key, value, global_rows, key_padding_mask, band, scale, dropout_p
    )
    return output, log_sum_exp, state


@_operator.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
    *_, dropout_p, _ = args
    sums = query.new_empty(query.shape[:3], dtype=attention.accumulate_type(query))
    state_bytes = _random_state(query.device).numel() if dropout_p else 0
    state = torch.empty(state_bytes, dtype=torch.uint8, device="cpu")
    return attention.empty_bshd(query, value.shape[3]), sums, state


@torch.library.custom_op("attnprof::banded_attention_", mutates_args=("query",))
def _in_place_operator(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    global_rows: Tensor | None,
    key_padding_mask: Tensor | None,
    sides: Sequence[int],
    dilation: Sequence[int],
    causal: bool,
    positions: Sequence[int],
    counts: Sequence[int],
    scale: float,
    implementation: str,
) -> None:
    """`forward` of an implementation, with the output written to the query."""
    inputs = (query, key, value, global_rows, key_padding_mask)
    band = _band(sides, dilation, causal, positions, counts)
    _kernels(implementation).forward(*inputs, band, scale, output=query)


@_in_place_operator.register_fake
def _(query: Tensor, *args: Any) -> None:
    return None


@torch.library.custom_op("attnprof::banded_attention_backward", mutates_args=())
def _backward_operator(
    grad_output: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    sides: Sequence[int],
    dilation: Sequence[int],
    causal: bool,
    positions: Sequence[int],
    counts: Sequence[int],
    scale: float,
    dropout_p: float,
    implementation: str,
    output: Tensor,
    log_sum_exp: Tensor,
    random_state: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """`backward` of an implementation: the gradients of query, key and value."""
    band = _band(sides, dilation, causal, positions, counts)
    with _replay_rng(random_state if dropout_p else None, query.device):
        return _kernels(implementation).backward(
            grad_output,
            query,
            key,
            value,
            key_padding_mask,
            band,
            scale,
            dropout_p,
            output,
            log_sum_exp,
        )


@_backward_operator.register_fake
def _(grad_output: Tensor, query: Tensor, key: Tensor, value: Tensor, *args: Any) -> Any:
    return tuple(attention.empty_bshd(tensor) for tensor in (query, key, value))


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # the log-sum-exp and the random state have no gradients
    query, key, value, global_rows, key_padding_mask, *ctx.constants = inputs
    ctx.globals = 0 if global_rows is None else global_rows.shape[2]
    ctx.save_for_backward(query, key, value, key_padding_mask, *output)


def _operator_backward(ctx: Any, grad_output: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    query, key, value, key_padding_mask, *saved = ctx.saved_tensors
    gradients = _backward_operator(
        grad_output, query, key, value, key_padding_mask, *ctx.constants, *saved
    )
    of_rows = _rows_gradient(grad_output, _band(*ctx.constants[:5]), ctx.globals)
    return *gradients, of_rows, *(None,) * 9


_operator.register_autograd(_operator_backward, setup_context=_save)

OPERATORS: tuple[Any, ...] = (
    torch.ops.attnprof.banded_attention,
    torch.ops.attnprof.banded_attention_,
    torch.ops.attnprof.banded_attention_backward,
)
"""The operators as torch dispatches them: forward, forward in place, backward."""
