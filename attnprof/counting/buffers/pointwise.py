"""Memory inside operators that multiply no matrices, on the CPU.

Sources, in torch's aten/src/ATen: TensorIterator.cpp for tensors of several types, and in native
ReduceOps.cpp, Loss.cpp, Normalization.cpp, layer_norm.cpp and cpu/ScatterGatherKernel.cpp.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attnprof.counting.buffers.bounds import (
    Formula,
    InnerBytes,
    at_most,
    bytes_of,
    copies,
    copy_with_gaps,
    is_on_cpu,
)

_aten = torch.ops.aten
_HALF = (torch.float16, torch.bfloat16)
_SINGLE_BYTES = 4
_MEAN = 1
"""Of `torch.nn.functional._Reduction`; 0 is none, 2 the sum."""

_MIXED = (
    "add sub mul div pow eq ne lt le gt ge maximum minimum fmod remainder atan2 floor_divide rsub "
    "add_ sub_ mul_ div_ pow_ fmod_ remainder_ floor_divide_"
)

_IN_COPIES = {
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


def _mixed(self: Any, result: Tensor, **arguments: Any) -> int:
    """Operands of another type than the one that is computed in are converted first."""
    other = arguments["exponent"] if "exponent" in arguments else arguments["other"]
    operands = [one for one in (self, other) if isinstance(one, Tensor)]
    if not all(map(is_on_cpu, operands)):
        return 0
    common = torch.result_type(self, other)
    if result.is_floating_point() and not common.is_floating_point:  # a quotient of integers
        common = result.dtype
    converted = sum(one.numel() for one in operands if one.dim() and one.dtype != common)
    narrowed = 0 if result.dtype in (common, torch.bool) else result.numel()
    return (converted + narrowed) * common.itemsize


def _chosen(self: Any, other: Any, result: Tensor, **_: Any) -> int:
    return _mixed(self, result, other=other)


def _sum(self: Tensor, result: Tensor, **_: Any) -> int:
    """What is summed in another type is converted first."""
    is_converted = is_on_cpu(self) and self.dtype != result.dtype
    return self.numel() * result.itemsize if is_converted else 0


def _mean(self: Tensor, result: Tensor, **arguments: Any) -> int:
    """Half precisions are summed in float32."""
    if not is_on_cpu(self) or arguments.get("dim") is None or result.dtype not in _HALF:
        return _sum(self, result)
    return (self.numel() + result.numel()) * _SINGLE_BYTES


def _log_sum_exp(self: Tensor, result: Tensor, **_: Any) -> int:
    """The exponentials of all numbers, less the greatest of their row."""
    return bytes_of(self) + bytes_of(result)


def _loss(times: int) -> Formula:
    """So many tensors of single losses, where they are reduced, as `_mean` and `_sum` do."""

    def formula(self: Tensor, reduction: int = 0, **_: Any) -> int:
        if not reduction:
            return 0
        is_widened = is_on_cpu(self) and self.dtype in _HALF and reduction == _MEAN
        return times * bytes_of(self) + (self.numel() * _SINGLE_BYTES if is_widened else 0)

    return formula


def _batch_norm_backward(input: Tensor, train: bool = True, **_: Any) -> int | InnerBytes:
    """The gradient of the normalised numbers."""
    if not is_on_cpu(input):
        return 0
    return bytes_of(input) if input.is_contiguous() and train else at_most(bytes_of(input))


def _layer_norm(input: Tensor, **_: Any) -> int:
    return copy_with_gaps(input)


def _gather(result: Tensor, **_: Any) -> int:
    """Half precisions are gathered, and added up, in float32."""
    is_widened = is_on_cpu(result) and result.dtype in _HALF
    return result.numel() * _SINGLE_BYTES if is_widened else 0


def _named(names: str) -> list[Any]:
    """The operators of these names that this torch has."""
    return [getattr(_aten, name) for name in names.split() if hasattr(_aten, name)]


BUFFERS: dict[Any, Formula] = {
    _aten._softmax: copy_with_gaps,
    _aten._log_softmax: copy_with_gaps,
    _aten.native_layer_norm: _layer_norm,
    _aten.native_batch_norm_backward: _batch_norm_backward,
    _aten.sum: _sum,
    _aten.mean: _mean,
    _aten.logsumexp: _log_sum_exp,
    _aten.where: _chosen,
    _aten.mse_loss: _loss(2),
    _aten.binary_cross_entropy_with_logits: _loss(2),
    **dict.fromkeys(_named("huber_loss smooth_l1_loss soft_margin_loss"), _loss(1)),
    **dict.fromkeys(_named("gather scatter scatter_add scatter_add_"), _gather),
    **dict.fromkeys(_named(_MIXED), _mixed),
    **{
        operator: copies(times) for times, names in _IN_COPIES.items() for operator in _named(names)
    },
}
