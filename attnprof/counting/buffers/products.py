"""Memory inside matrix products, convolutions and recurrent layers on the CPU.

Sources, in torch's aten/src/ATen/native: LinearAlgebra.cpp, ConvolutionMM2d.cpp, mkldnn/Conv.cpp,
mkldnn/Matmul.cpp and mkldnn/RNN.cpp. What oneDNN takes of its own depends on the CPU's
instructions: it is bounded, not told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from attnprof.counting.buffers.bounds import Formula, InnerBytes, at_most, bytes_of, is_on_cpu
from attnprof.counting.buffers.onednn import is_packed, packed_bytes

_aten = torch.ops.aten

_ONEDNN_BLOCK = 16
"""Channels that oneDNN lays side by side; fewer are filled up with zeros."""


def _product(self: Tensor, mat2: Tensor, result: Tensor, **_: Any) -> int | InnerBytes:
    return _products(self, mat2, result)


def _product_and_sum(mat1: Tensor, mat2: Tensor, result: Tensor, **_: Any) -> int | InnerBytes:
    return _products(mat1, mat2, result)


def _batched_and_sum(batch1: Tensor, batch2: Tensor, result: Tensor, **_: Any) -> int | InnerBytes:
    return _products(batch1, batch2, result)


def _matrix_and_vector(self: Tensor, vec: Tensor, result: Tensor, **_: Any) -> int | InnerBytes:
    return _packed(self, vec, result) if is_packed(self) else 0


def _products(left: Tensor, right: Tensor, result: Tensor) -> int | InnerBytes:
    """Operands that BLAS cannot read as they lie are copied, a batch's matrix by matrix."""
    if not is_on_cpu(left):
        return 0
    if is_packed(left):
        return _packed(left, right, result)
    pair = (left, right)
    if left.dim() == 2:
        return sum(bytes_of(one) for one in pair if _has_gaps(one)) + _conjugated(pair)
    return sum(bytes_of(one) // max(1, one.shape[0]) for one in pair if _has_gaps(one)) + max(
        (bytes_of(one) for one in pair if one.is_conj()), default=0
    )


def _conjugated(pair: tuple[Tensor, Tensor]) -> int:
    """BLAS conjugates what it transposes; else a copy is conjugated."""
    return sum(bytes_of(one) for one in pair if one.is_conj() and one.stride(-1) == 1)


def _has_gaps(matrix: Tensor) -> bool:
    """Whether neither rows nor columns lie in one piece."""
    (rows, columns), (down, along) = matrix.shape[-2:], matrix.stride()[-2:]
    by_rows = along == 1 and down >= max(1, columns)
    by_columns = down == 1 and along >= max(1, rows)
    return not (by_rows or by_columns)


def _packed(left: Tensor, right: Tensor, result: Tensor) -> InnerBytes:
    tensors = (left, right, result)
    blocks = packed_bytes(left, sum(map(bytes_of, tensors)))
    gaps = sum(bytes_of(one) for one in (left, right) if not one.is_contiguous())
    return at_most(gaps + blocks)


def _convolution(
    input: Tensor, weight: Tensor, result: Tensor, **arguments: Any
) -> InnerBytes | int:
    """Each tensor once more in blocks of channels, or a column of inputs for each output."""
    if not is_on_cpu(input):
        return 0
    spread = result.shape[2:] if not arguments["transposed"] else input.shape[2:]
    filters = weight[0].numel() * arguments["groups"]
    columns = input.shape[0] * filters * math.prod(spread) * input.itemsize
    in_blocks = sum(map(_bytes_in_blocks, (input, weight, result)))
    return at_most(columns + in_blocks)


def _convolution_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, **arguments: Any
) -> InnerBytes | int:
    """The gradients of input and weight, each as a convolution."""
    forward = _convolution(input, weight, **arguments | {"result": grad_output})
    return at_most(2 * (forward.at_most or 0)) if isinstance(forward, InnerBytes) else forward


def _bytes_in_blocks(tensor: Tensor) -> int:
    first, second, *rest = tensor.shape
    filled = -(-first // _ONEDNN_BLOCK) * -(-second // _ONEDNN_BLOCK) * _ONEDNN_BLOCK**2
    return max(4, tensor.itemsize) * filled * math.prod(rest)


def _recurrent(input: Tensor, **arguments: Any) -> InnerBytes:
    """Weights in blocks, the gates of all steps, and in training what goes backward needs."""
    steps, width = input.shape[0] * input.shape[1], arguments["hidden_size"]
    weights: Sequence[Tensor] = [arguments[f"weight{index}"] for index in range(4)]
    gates = steps * 4 * width
    numbers = 4 * gates + 3 * steps * (input.shape[2] + width) + sum(w.numel() for w in weights)
    return at_most(2 * max(4, input.itemsize) * numbers)


def _recurrent_backward(input: Tensor, **arguments: Any) -> InnerBytes:
    names = ("weight1", "weight2", "weight3", "weight4")
    renamed = {f"weight{index}": arguments[name] for index, name in enumerate(names)}
    return _recurrent(input, hidden_size=arguments["hidden_size"], **renamed)


def _columns(self: Tensor, **_: Any) -> int:
    return bytes_of(self)


BUFFERS: dict[Any, Formula] = {
    _aten.mm: _product,
    _aten.bmm: _product,
    _aten.addmm: _product_and_sum,
    _aten.baddbmm: _batched_and_sum,
    _aten.mv: _matrix_and_vector,
    _aten.convolution: _convolution,
    _aten.convolution_backward: _convolution_backward,
    _aten.mkldnn_rnn_layer: _recurrent,
    _aten.mkldnn_rnn_layer_backward: _recurrent_backward,
    _aten.im2col: _columns,
}
