"""Memory inside matrix products, convolutions and recurrent layers on the CPU.

Sources, in torch's aten/src/ATen/native: LinearAlgebra.cpp, ConvolutionMM2d.cpp, mkldnn/Conv.cpp,
mkldnn/Matmul.cpp and mkldnn/RNN.cpp. What oneDNN allocates depends on the CPU's instructions, so
there are only bounds for it.
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
"""Channels that oneDNN stores side by side, padded with zeros."""


def _mm(self: Tensor, mat2: Tensor, result: Tensor, **_: Any) -> int | InnerBytes:
    return _matmul(self, mat2, result)


def _addmm(mat1: Tensor, mat2: Tensor, result: Tensor, **_: Any) -> int | InnerBytes:
    return _matmul(mat1, mat2, result)


def _baddbmm(batch1: Tensor, batch2: Tensor, result: Tensor, **_: Any) -> int | InnerBytes:
    return _matmul(batch1, batch2, result)


def _mv(self: Tensor, vec: Tensor, result: Tensor, **_: Any) -> int | InnerBytes:
    return _packed(self, vec, result) if is_packed(self) else 0


def _matmul(left: Tensor, right: Tensor, result: Tensor) -> int | InnerBytes:
    """Operands whose strides BLAS cannot use are copied, in a batch one matrix at a time."""
    if not is_on_cpu(left):
        return 0
    if is_packed(left):
        return _packed(left, right, result)
    operands = (left, right)
    copied = [operand for operand in operands if not _is_usable_by_blas(operand)]
    if left.dim() == 2:
        return sum(map(bytes_of, copied)) + _conjugated_bytes(operands)
    copied_bytes = sum(bytes_of(batch) // max(1, batch.shape[0]) for batch in copied)
    conjugated = [bytes_of(operand) for operand in operands if operand.is_conj()]
    return copied_bytes + max(conjugated, default=0)


def _conjugated_bytes(operands: tuple[Tensor, Tensor]) -> int:
    """BLAS can conjugate an operand that it transposes; else a copy is conjugated."""
    return sum(
        bytes_of(operand) for operand in operands if operand.is_conj() and operand.stride(-1) == 1
    )


def _is_usable_by_blas(matrix: Tensor) -> bool:
    """Whether each row, or each column, is contiguous."""
    (rows, columns), (row_stride, column_stride) = matrix.shape[-2:], matrix.stride()[-2:]
    has_contiguous_rows = column_stride == 1 and row_stride >= max(1, columns)
    has_contiguous_columns = row_stride == 1 and column_stride >= max(1, rows)
    return has_contiguous_rows or has_contiguous_columns


def _packed(left: Tensor, right: Tensor, result: Tensor) -> InnerBytes:
    """At most oneDNN's buffers, and a contiguous copy of each operand that is not."""
    buffers = packed_bytes(left, sum(map(bytes_of, (left, right, result))))
    copied = sum(bytes_of(operand) for operand in (left, right) if not operand.is_contiguous())
    return at_most(copied + buffers)


def _convolution(
    input: Tensor, weight: Tensor, result: Tensor, **arguments: Any
) -> InnerBytes | int:
    """At most a copy of each tensor in blocks of channels, and a column of inputs per output."""
    if not is_on_cpu(input):
        return 0
    positions = result.shape[2:] if not arguments["transposed"] else input.shape[2:]
    filters = weight[0].numel() * arguments["groups"]
    columns = input.shape[0] * filters * math.prod(positions) * input.itemsize
    in_blocks = sum(map(_bytes_in_blocks, (input, weight, result)))
    return at_most(columns + in_blocks)


def _convolution_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, **arguments: Any
) -> InnerBytes | int:
    """The gradients of input and weight, each like a convolution."""
    forward = _convolution(input, weight, **arguments | {"result": grad_output})
    return at_most(2 * (forward.at_most or 0)) if isinstance(forward, InnerBytes) else forward


def _bytes_in_blocks(tensor: Tensor) -> int:
    """Bytes of a copy whose first two dimensions are padded to whole blocks."""
    first, second, *rest = tensor.shape
    padded = -(-first // _ONEDNN_BLOCK) * -(-second // _ONEDNN_BLOCK) * _ONEDNN_BLOCK**2
    return max(4, tensor.itemsize) * padded * math.prod(rest)


def _recurrent(input: Tensor, **arguments: Any) -> InnerBytes:
    """At most: weights in blocks, the gates of all steps, and what the backward pass needs."""
    steps, width = input.shape[0] * input.shape[1], arguments["hidden_size"]
    weights: Sequence[Tensor] = [arguments[f"weight{index}"] for index in range(4)]
    gates = steps * 4 * width
    elements = 4 * gates + 3 * steps * (input.shape[2] + width) + sum(w.numel() for w in weights)
    return at_most(2 * max(4, input.itemsize) * elements)


def _recurrent_backward(input: Tensor, **arguments: Any) -> InnerBytes:
    names = ("weight1", "weight2", "weight3", "weight4")
    renamed = {f"weight{index}": arguments[name] for index, name in enumerate(names)}
    return _recurrent(input, hidden_size=arguments["hidden_size"], **renamed)


def _im2col(self: Tensor, **_: Any) -> int:
    return bytes_of(self)


BUFFERS: dict[Any, Formula] = {
    _aten.mm: _mm,
    _aten.bmm: _mm,
    _aten.addmm: _addmm,
    _aten.baddbmm: _baddbmm,
    _aten.mv: _mv,
    _aten.convolution: _convolution,
    _aten.convolution_backward: _convolution_backward,
    _aten.mkldnn_rnn_layer: _recurrent,
    _aten.mkldnn_rnn_layer_backward: _recurrent_backward,
    _aten.im2col: _im2col,
}
