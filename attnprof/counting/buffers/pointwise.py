"""Memory inside CPU operators that multiply no matrices.

Sources, in torch's aten/src/ATen: TensorIterator.cpp for mixed types, and in native
ReduceOps.cpp, Loss.cpp, Normalization.cpp, layer_norm.cpp and cpu/ScatterGatherKernel.cpp.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attnprof.counting.aten_operators import aten_operators
from attnprof.counting.buffers.bounds import (
    Formula,
    InnerBytes,
    at_most,
    bytes_of,
    contiguous_copy,
    copies,
    is_on_cpu,
)

_aten = torch.ops.aten
_HALF = (torch.float16, torch.bfloat16)
_SINGLE_BYTES = 4
_MEAN = 1
"""The value of `reduction` in losses, by `torch.nn.functional._Reduction`; 0 is none, 2 the sum."""

_BINARY = (
    "add sub mul div pow eq ne lt le gt ge maximum minimum fmod remainder atan2 floor_divide rsub "
    "add_ sub_ mul_ div_ pow_ fmod_ remainder_ floor_divide_"
)
"""Operators with two operands, whose types may differ."""

_BY_COPIES = {
    1: "mse_loss_backward huber_loss_backward smooth_l1_loss_backward histc",
    2: "upsample_nearest2d upsample_nearest3d upsample_bilinear2d upsample_bicubic2d "
    "upsample_trilinear3d upsample_nearest1d upsample_linear1d _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d _upsample_nearest_exact3d _upsample_bilinear2d_aa "
    "_upsample_bicubic2d_aa upsample_nearest2d_backward upsample_bilinear2d_backward "
    "upsample_bicubic2d_backward _upsample_bilinear2d_aa_backward _euclidean_dist _cdist_forward "
    "_cdist_backward _fft_r2c _fft_c2c _fft_c2r multinomial col2im _ctc_loss _ctc_loss_backward",
    3: "_embedding_bag _embedding_bag_forward_only _embedding_bag_backward "
    "_embedding_bag_dense_backward",
    5: "scatter_reduce scatter_reduce_ kthvalue",
}
"""Operators that allocate at most so many copies of their inputs and outputs."""


def _binary(self: Any, result: Tensor, **arguments: Any) -> int:
    """Operands whose type differs from the type of the computation are converted first."""
    right = arguments["exponent"] if "exponent" in arguments else arguments["other"]
    return _conversion_bytes(self, right, result)


def _where(self: Any, other: Any, result: Tensor, **_: Any) -> int:
    return _conversion_bytes(self, other, result)


def _conversion_bytes(left: Any, right: Any, result: Tensor) -> int:
    """Bytes of tensors that are converted to the common type of two operands, or from it."""
    operands = [operand for operand in (left, right) if isinstance(operand, Tensor)]
    if not all(map(is_on_cpu, operands)):
        return 0
    common = torch.result_type(left, right)
    if result.is_floating_point() and not common.is_floating_point:  # a quotient of integers
        common = result.dtype
    converted = sum(t.numel() for t in operands if t.dim() and t.dtype != common)
    narrowed = 0 if result.dtype in (common, torch.bool) else result.numel()
    return (converted + narrowed) * common.itemsize


def _sum(self: Tensor, result: Tensor, **_: Any) -> int:
    """The input is converted first if it is summed in another type."""
    is_converted = is_on_cpu(self) and self.dtype != result.dtype
    return self.numel() * result.itemsize if is_converted else 0


def _mean(self: Tensor, result: Tensor, **arguments: Any) -> int:
    """Half-precision elements are summed in float32."""
    if not is_on_cpu(self) or arguments.get("dim") is None or result.dtype not in _HALF:
        return _sum(self, result)
    return (self.numel() + result.numel()) * _SINGLE_BYTES


def _log_sum_exp(self: Tensor, result: Tensor, **_: Any) -> int:
    """The exponentials of all elements, and the maximum of each row."""
    return bytes_of(self) + bytes_of(result)


def _loss(times: int) -> Formula:
    """A formula: if the losses are reduced, `times` tensors of unreduced losses.

    Half-precision losses are also converted to float32 if they are averaged.
    """

    def formula(self: Tensor, reduction: int = 0, **_: Any) -> int:
        if not reduction:
            return 0
        is_widened = is_on_cpu(self) and self.dtype in _HALF and reduction == _MEAN
        return times * bytes_of(self) + (self.numel() * _SINGLE_BYTES if is_widened else 0)

    return formula


def _batch_norm_backward(input: Tensor, train: bool = True, **_: Any) -> int | InnerBytes:
    """The gradient of the normalised input: exactly that in training if the input is contiguous."""
    if not is_on_cpu(input):
        return 0
    return bytes_of(input) if input.is_contiguous() and train else at_most(bytes_of(input))


def _layer_norm(input: Tensor, **_: Any) -> int:
    return contiguous_copy(input)


def _gather(result: Tensor, **_: Any) -> int:
    """Half-precision elements are gathered and added in float32."""
    is_widened = is_on_cpu(result) and result.dtype in _HALF
    return result.numel() * _SINGLE_BYTES if is_widened else 0


BUFFERS: dict[Any, Formula] = {
    _aten._softmax: contiguous_copy,
    _aten._log_softmax: contiguous_copy,
    _aten.native_layer_norm: _layer_norm,
    _aten.native_batch_norm_backward: _batch_norm_backward,
    _aten.sum: _sum,
    _aten.mean: _mean,
    _aten.logsumexp: _log_sum_exp,
    _aten.where: _where,
    _aten.mse_loss: _loss(2),
    _aten.binary_cross_entropy_with_logits: _loss(2),
    **dict.fromkeys(aten_operators("huber_loss smooth_l1_loss soft_margin_loss"), _loss(1)),
    **dict.fromkeys(aten_operators("gather scatter scatter_add scatter_add_"), _gather),
    **dict.fromkeys(aten_operators(_BINARY), _binary),
    **{
        operator: copies(times)
        for times, names in _BY_COPIES.items()
        for operator in aten_operators(names)
    },
}
