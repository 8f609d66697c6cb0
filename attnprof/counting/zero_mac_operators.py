"""Operators that multiply no matrices and so have no MACs.

torch marks views, and tags most pointwise operators and reductions. All others are listed here. An
operator that is not marked, tagged or listed and has no formula is uncounted, since it may contain
matrix products.
"""

from __future__ import annotations

from typing import Any

import torch

_NAMES: dict[str, str] = {
    "creation": "arange empty empty_like empty_permuted empty_strided eye full full_like linspace "
    "logspace new_empty new_empty_strided new_full new_ones new_zeros ones ones_like "
    "scalar_tensor tril_indices triu_indices zeros zeros_like zero zero_ fill fill_ lift "
    "lift_fresh lift_fresh_copy hann_window range",
    "copies": "_to_copy _copy_from _conj_physical clone contiguous copy copy_ detach resize_ "
    "resize set_ _pin_memory pin_memory _reshape_copy _reshape_alias _unsafe_view view_copy "
    "expand_copy permute_copy transpose_copy slice_copy select_copy unsqueeze_copy squeeze_copy "
    "as_strided_copy as_strided_ as_strided_scatter slice_scatter select_scatter "
    "diagonal_scatter slice_backward select_backward diagonal_backward unfold_backward "
    "value_selecting_reduction_backward resolve_conj resolve_neg repeat tile roll flip rot90 "
    "to_sparse to_dense to_mkldnn _to_dense _nested_tensor_from_mask "
    "_nested_tensor_from_mask_left_aligned to_padded_tensor _nested_from_padded "
    "_nested_from_padded_tensor _nested_tensor_from_tensor_list _nested_view_from_buffer "
    "_nested_view_from_buffer_copy _padded_dense_to_jagged_forward "
    "_jagged_to_padded_dense_forward is_set_to alias alias_copy "
    "t_copy detach_copy _fw_primal set_data unsafe_split unsafe_split_with_sizes unsafe_chunk "
    "split_with_sizes_copy split_copy unbind_copy squeeze_ unsqueeze_ t_ transpose_",
    "indexing": "embedding embedding_dense_backward embedding_renorm_ _embedding_bag "
    "_embedding_bag_forward_only gather index index_add index_add_ index_copy index_copy_ "
    "index_fill index_fill_ index_put index_put_ _index_put_impl_ _unsafe_index "
    "_unsafe_index_put _unsafe_masked_index _unsafe_masked_index_put_accumulate index_select "
    "index_reduce index_reduce_ masked_fill masked_fill_ masked_scatter masked_scatter_ "
    "masked_scatter_backward masked_select nonzero nonzero_static put put_ scatter scatter_ "
    "scatter_add scatter_add_ scatter_reduce scatter_reduce_ take take_along_dim one_hot "
    "bucketize searchsorted where tril tril_ triu triu_ diag_embed diagonal_copy",
    "joins and padding": "cat stack _pack_padded_sequence constant_pad_nd pad pixel_shuffle "
    "pixel_unshuffle reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d "
    "replication_pad2d replication_pad3d reflection_pad1d_backward reflection_pad2d_backward "
    "replication_pad1d_backward replication_pad2d_backward im2col col2im channel_shuffle "
    "native_channel_shuffle",
    "reductions and scans": "all amax amin aminmax any argmax argmin bincount count_nonzero "
    "cumsum cumsum_ cumprod cummax cummin _cummax_helper logcumsumexp logsumexp max mean median "
    "nanmedian min mode nansum norm linalg_vector_norm prod std std_mean sum trace unique_dim "
    "unique_consecutive _unique _unique2 var var_mean histc dist _is_all_true _is_any_true equal "
    "segment_reduce",
    "norms": "_fused_rms_norm _fused_rms_norm_backward batch_norm_backward "
    "_native_batch_norm_legit _native_batch_norm_legit_functional "
    "_native_batch_norm_legit_no_training cudnn_batch_norm cudnn_batch_norm_backward "
    "native_batch_norm native_batch_norm_backward native_group_norm native_group_norm_backward "
    "native_layer_norm native_layer_norm_backward rms_norm _batch_norm_with_update "
    "_batch_norm_no_update renorm _weight_norm_interface _weight_norm_interface_backward",
    "softmax and activations": "_log_softmax _log_softmax_backward_data _safe_softmax _softmax "
    "_softmax_backward_data glu glu_backward elu elu_backward gelu gelu_backward hardswish "
    "hardswish_backward hardsigmoid_backward hardtanh_backward leaky_relu_backward "
    "log_sigmoid_forward log_sigmoid_backward mish_backward prelu _prelu_kernel "
    "_prelu_kernel_backward rrelu_with_noise sigmoid_backward silu_backward softplus_backward "
    "softshrink_backward tanh_backward threshold_backward _masked_softmax "
    "_masked_softmax_backward",
    "losses": "binary_cross_entropy binary_cross_entropy_backward huber_loss "
    "huber_loss_backward mse_loss mse_loss_backward nll_loss_forward nll_loss_backward "
    "nll_loss2d_forward nll_loss2d_backward smooth_l1_loss smooth_l1_loss_backward _ctc_loss "
    "_ctc_loss_backward soft_margin_loss",
    "pooling and resampling": "_adaptive_avg_pool2d _adaptive_avg_pool2d_backward "
    "_adaptive_avg_pool3d _adaptive_avg_pool3d_backward adaptive_max_pool2d "
    "adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool2d_backward avg_pool3d "
    "avg_pool3d_backward max_pool2d_with_indices max_pool2d_with_indices_backward "
    "max_pool3d_with_indices max_pool3d_with_indices_backward upsample_nearest1d "
    "upsample_nearest2d upsample_nearest3d upsample_bilinear2d upsample_linear1d "
    "upsample_bicubic2d upsample_nearest2d_backward upsample_bilinear2d_backward "
    "grid_sampler_2d grid_sampler_2d_backward",
    "sorting": "sort argsort topk kthvalue msort",
    "randomness": "bernoulli bernoulli_ _fused_dropout native_dropout native_dropout_backward "
    "exponential_ geometric_ log_normal_ multinomial normal normal_ normal_functional rand "
    "rand_like randint randint_like randn randn_like random_ random randperm uniform_ uniform "
    "poisson cauchy_",
    "checks": "_local_scalar_dense item is_same_size sym_size sym_stride sym_numel "
    "sym_storage_offset _assert_async _assert_scalar _assert_tensor_metadata "
    "_functional_assert_async is_nonzero is_pinned record_stream _has_compatible_shallow_copy_type "
    "_version _nested_tensor_size isfinite isinf isnan isclose",
    "pointwise, untagged": "bitwise_not_ clamp_ lerp lerp_ addcmul addcmul_ addcdiv addcdiv_ "
    "nan_to_num nan_to_num_ cross linalg_cross polar complex view_as_real "
    "view_as_complex gelu_ relu_ mul_ add_ sub_ div_ rsub fmod remainder floor_divide erfinv_ "
    "_amp_foreach_non_finite_check_and_unscale_ _fused_adam_ _fused_adamw_ _fused_sgd_",
}
_ZERO_MAC_NAMES = {name for names in _NAMES.values() for name in names.split()}
_ZERO_MAC_NAMESPACES = ("profiler",)
_ZERO_MAC_TAGS = {
    getattr(torch.Tag, name) for name in ("pointwise", "reduction") if hasattr(torch.Tag, name)
}


def is_zero_mac(operator: Any, tensors: list[Any]) -> bool:
    """Whether a call multiplies no matrices.

    Args:
        operator: as torch dispatches it; a custom one has no MACs only if it has no floating-point
            inputs or outputs.
        tensors: its inputs and outputs.
    """
    if not any(tensor.is_floating_point() or tensor.is_complex() for tensor in tensors):
        return True
    if not isinstance(operator, torch._ops.OpOverload):
        return False
    if operator.namespace in _ZERO_MAC_NAMESPACES:
        return True
    if operator.namespace != "aten":
        return False
    name = operator._schema.name.removeprefix("aten::")
    return (
        operator.is_view
        or name in _ZERO_MAC_NAMES
        or name.startswith("_foreach_")
        or bool(_ZERO_MAC_TAGS.intersection(operator.tags))
    )
