"""Banded attention as one differentiable operation, and as one operator for `torch.compile`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from attnprof.nn.banded import attention
from attnprof.nn.banded.attention import Band


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
) -> Tensor:
    """The output `(batch, heads, seq_len, head_dim)`; arguments as those of `banded.forward`.

    With `may_overwrite_query` and no gradient to come, the output takes the place of the queries.
    """
    tensors = [t for t in (query, key, value, global_rows) if t is not None]
    has_gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    inputs = (query, key, value, global_rows, key_padding_mask)
    is_in_place = may_overwrite_query and not has_gradient
    if torch.compiler.is_compiling() or _has_no_numbers(query, dropout_p):
        # The loops over tiles would be unrolled into the graph, or walked for nothing.
        if is_in_place and not torch.compiler.is_compiling():
            _in_place_operator(*inputs, *_band_to_schema(band), scale)
            return query
        return _operator(*inputs, *_band_to_schema(band), scale, dropout_p)[0]
    if has_gradient:
        return _Differentiable.apply(*inputs, band, scale, dropout_p)
    output = query if is_in_place else None
    return attention.forward(*inputs, band, scale, dropout_p, output)[0]


def _has_no_numbers(query: Tensor, dropout_p: float) -> bool:
    """Whether tiles could be walked by their shapes alone, each by one fused operator."""
    is_shape = query.is_meta or isinstance(query, FakeTensor)
    return is_shape and query.device.type in ("cpu", "meta") and dropout_p == 0.0


class _Differentiable(torch.autograd.Function):
    """Forward and backward by tiles. torch has no derivative of the log-sum-exp it merges by."""

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
                _NoSecondDerivative.apply(one, query, key, value, grad_output) for one in gradients
            )
        of_rows = _rows_gradient(grad_output, band, ctx.globals)
        return *gradients, of_rows, None, None, None, None


class _NoSecondDerivative(torch.autograd.Function):
    """A gradient that is an error to differentiate: as a constant it would be wrong in silence."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *differentiable: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise RuntimeError("sliding_window_attention has a first derivative only")


def _rows_gradient(grad_output: Tensor, band: Band, most: int) -> Tensor | None:
    """The gradient of the rows of global tokens; 0 beyond the last of a sequence."""
    if most == 0:
        return None
    batch, heads, _, head_dim = grad_output.shape
    gradient = grad_output.new_zeros((batch, heads, most, head_dim))
    for item, positions in enumerate(band.global_positions):
        index = torch.tensor(positions, dtype=torch.int64, device=grad_output.device)
        gradient[item, :, : len(positions)] = grad_output[item][:, index]
    return gradient


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


@contextmanager
def _replay_rng(state: Tensor | None, device: torch.device) -> Generator[None]:
    """Random numbers inside are those drawn from that state on; outside they go on as before."""
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


def _band_to_schema(band: Band) -> tuple[int, list[int], list[int], list[int]]:
    """A band in types that an operator takes: window, dilations, positions, how many of each."""
    positions = [p for of_item in band.global_positions for p in of_item]
    counts = [len(of_item) for of_item in band.global_positions]
    return band.window, list(band.dilation), positions, counts


def _band(
    window: int, dilation: Sequence[int], positions: Sequence[int], counts: Sequence[int]
) -> Band:
    ends = [sum(counts[: item + 1]) for item in range(len(counts))]
    return Band(
        window=window,
        dilation=tuple(dilation),
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
    window: int,
    dilation: Sequence[int],
    positions: Sequence[int],
    counts: Sequence[int],
    scale: float,
    dropout_p: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, log-sum-exp, and the random state in which dropout began."""
    state = _random_state(query.device) if dropout_p else torch.empty(0, dtype=torch.uint8)
    band = _band(window, dilation, positions, counts)
    output, log_sum_exp = attention.forward(
        query, key, value, global_rows, key_padding_mask, band, scale, dropout_p
    )
    return output, log_sum_exp, state


@_operator.register_fake
def _(query: Tensor, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
    *_, dropout_p = args
    sums = query.new_empty(query.shape[:3], dtype=attention.accumulate_type(query))
    numbers = _random_state(query.device).numel() if dropout_p else 0
    state = torch.empty(numbers, dtype=torch.uint8, device="cpu")
    return attention.empty_bshd(query), sums, state


@torch.library.custom_op("attnprof::banded_attention_", mutates_args=("query",))
def _in_place_operator(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    global_rows: Tensor | None,
    key_padding_mask: Tensor | None,
    window: int,
    dilation: Sequence[int],
    positions: Sequence[int],
    counts: Sequence[int],
    scale: float,
) -> None:
    """The output takes the place of the queries."""
    band = _band(window, dilation, positions, counts)
    attention.forward(query, key, value, global_rows, key_padding_mask, band, scale, output=query)


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
    window: int,
    dilation: Sequence[int],
    positions: Sequence[int],
    counts: Sequence[int],
    scale: float,
    dropout_p: float,
    output: Tensor,
    log_sum_exp: Tensor,
    random_state: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    band = _band(window, dilation, positions, counts)
    with _replay_rng(random_state if dropout_p else None, query.device):
        return attention.backward(
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
    ctx.set_materialize_grads(False)  # of the log-sum-exp, which has none
    query, key, value, global_rows, key_padding_mask, *ctx.constants = inputs
    ctx.globals = 0 if global_rows is None else global_rows.shape[2]
    ctx.save_for_backward(query, key, value, key_padding_mask, *output)


def _operator_backward(ctx: Any, grad_output: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    query, key, value, key_padding_mask, *saved = ctx.saved_tensors
    gradients = _backward_operator(
        grad_output, query, key, value, key_padding_mask, *ctx.constants, *saved
    )
    of_rows = _rows_gradient(grad_output, _band(*ctx.constants[:4]), ctx.globals)
    return *gradients, of_rows, *(None,) * 7


_operator.register_autograd(_operator_backward, setup_context=_save)

OPERATORS: tuple[Any, ...] = (
    torch.ops.attnprof.banded_attention,
    torch.ops.attnprof.banded_attention_,
    torch.ops.attnprof.banded_attention_backward,
)
"""As torch dispatches them: forward, forward in the place of the queries, backward."""
