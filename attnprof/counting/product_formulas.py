"""MACs of torch's matrix products and convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils._mode_utils import no_dispatch

from attnprof.counting.aten_operators import aten_operators
from attnprof.counting.constant_propagation import constant_value


def _matmul_macs(left: Sequence[int], right: Sequence[int]) -> int:
    """MACs of `left @ right`, of shapes `(…, m, k)` and `(…, k, n)`."""
    return math.prod(left) * right[-1]


def _mm(self: Tensor, mat2: Tensor, **_: Any) -> int:
    return _matmul_macs(self.shape, mat2.shape)


def _addmm(mat1: Tensor, mat2: Tensor, **_: Any) -> int:
    return _matmul_macs(mat1.shape, mat2.shape)


def _baddbmm(batch1: Tensor, batch2: Tensor, **_: Any) -> int:
    return _matmul_macs(batch1.shape, batch2.shape)


def _mv(self: Tensor, **_: Any) -> int:
    return self.numel()


def _addmv(mat: Tensor, **_: Any) -> int:
    return mat.numel()


def _dot(self: Tensor, **_: Any) -> int:
    return self.numel()


def _addr(vec1: Tensor, vec2: Tensor, **_: Any) -> int:
    return vec1.numel() * vec2.numel()


def _weight_int8pack_mm(self: Tensor, mat2: Tensor, **_: Any) -> int:
    return math.prod(self.shape) * mat2.shape[0]


def _weight_int4pack_mm(self: Tensor, result: Tensor, **_: Any) -> int:
    return math.prod(self.shape) * result.shape[-1]


def _linear(weight: Tensor, result: Tensor, **_: Any) -> int:
    return result.numel() * weight.shape[-1]


def _grouped_mm(self: Tensor, mat2: Tensor, offs: Tensor | None = None, **_: Any) -> int:
    """Each row of a 2-d operand belongs to one group, and rows after the last group to none.

    `offs` holds the end of each group. If its values are not known, all rows are counted.
    """
    if offs is None or self.dim() == mat2.dim() == 3:
        return _matmul_macs(self.shape, mat2.shape)
    if self.dim() == 2:
        grouped_axis = 0 if mat2.dim() == 3 else 1  # its rows, or the axis that is summed over
        grouped = _grouped_length(offs, self.shape[grouped_axis])
        return grouped * self.shape[1 - grouped_axis] * mat2.shape[-1]
    return math.prod(self.shape[1:]) * _grouped_length(offs, mat2.shape[-1])


def _grouped_length(offs: Tensor, axis_length: int) -> int:
    """How much of an axis belongs to groups: up to the end of the last one."""
    ends = constant_value(offs)
    if ends is None:
        return axis_length
    with no_dispatch():
        return int(ends[-1])


def _filter_macs(inputs: Tensor, weight: Tensor, outputs: Tensor, transposed: bool) -> int:
    """Each output sums over one filter; transposed, each input is spread by one filter.

    Groups need no factor of their own: a filter spans the channels of its group only.
    """
    filtered = inputs if transposed else outputs
    return filtered.numel() * (weight.numel() // weight.shape[0])


def _convolution(input: Tensor, weight: Tensor, transposed: bool, result: Tensor, **_: Any) -> int:
    return _filter_macs(input, weight, result, transposed)


def _direct_convolution(weight: Tensor, result: Tensor, **_: Any) -> int:
    return result.numel() * (weight.numel() // weight.shape[0])


def _convolution_backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    transposed: bool,
    output_mask: Sequence[bool],
    **_: Any,
) -> int:
    """The gradients of input and weight each take as many MACs as the forward pass."""
    return sum(output_mask[:2]) * _filter_macs(input, weight, grad_output, transposed)


FORMULAS: dict[Any, Callable[..., int]] = {
    **dict.fromkeys(aten_operators("mm bmm _int_mm _scaled_mm _scaled_mm_v2"), _mm),
    **dict.fromkeys(aten_operators("addmm _addmm_activation"), _addmm),
    **dict.fromkeys(aten_operators("baddbmm addbmm"), _baddbmm),
    **dict.fromkeys(aten_operators("mv"), _mv),
    **dict.fromkeys(aten_operators("addmv addmv_"), _addmv),
    **dict.fromkeys(aten_operators("dot vdot"), _dot),
    **dict.fromkeys(aten_operators("addr"), _addr),
    **dict.fromkeys(aten_operators("_weight_int8pack_mm"), _weight_int8pack_mm),
    **dict.fromkeys(aten_operators("_weight_int4pack_mm"), _weight_int4pack_mm),
    **dict.fromkeys(aten_operators("linear mkldnn_linear"), _linear),
    **dict.fromkeys(aten_operators("_grouped_mm _scaled_grouped_mm"), _grouped_mm),
    **dict.fromkeys(
        aten_operators("convolution _convolution convolution_overrideable"), _convolution
    ),
    **dict.fromkeys(
        aten_operators(
            "cudnn_convolution miopen_convolution mkldnn_convolution thnn_conv2d "
            "_slow_conv2d_forward slow_conv3d_forward _conv_depthwise2d conv_depthwise3d"
        ),
        _direct_convolution,
    ),
    **dict.fromkeys(
        aten_operators("convolution_backward convolution_backward_overrideable"),
        _convolution_backward,
    ),
}
