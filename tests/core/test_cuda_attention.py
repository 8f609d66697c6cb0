"""Which kernel torch chooses on CUDA, and its buffers, against numbers from its sources."""

from __future__ import annotations

from typing import Any

import pytest

from attnprof.core.cuda_attention import CudaAttention, padded_mask_bytes

SHAPE: dict[str, Any] = {
    "batch": 1,
    "heads": 12,
    "kv_heads": 12,
    "queries": 512,
    "keys": 512,
    "head_dim": 64,
    "value_dim": 64,
    "dtype": "bfloat16",
}


def call(**changes: Any) -> CudaAttention:
    return CudaAttention(**(SHAPE | changes))


@pytest.mark.parametrize(
    ("changes", "kernel"),
    [
        ({}, "flash"),
        ({"dtype": "float16", "is_causal": True}, "flash"),
        ({"dtype": "float32"}, "efficient"),
        ({"dtype": "float64"}, "math"),
        ({"has_mask": True}, "efficient"),
        ({"kv_heads": 4}, "flash"),
        ({"kv_heads": 4, "has_mask": True}, "math"),
        ({"kv_heads": 4, "dtype": "float32"}, "math"),
        ({"value_dim": 32}, "efficient"),
        ({"head_dim": 256, "value_dim": 256}, "flash"),
        ({"head_dim": 264, "value_dim": 264}, "efficient"),
        ({"head_dim": 20, "value_dim": 20}, "flash"),
        ({"head_dim": 20, "value_dim": 20, "has_mask": True}, "math"),
        ({"head_dim": 20, "value_dim": 20, "dtype": "float32"}, "efficient"),
        ({"head_dim": 6, "value_dim": 6, "dtype": "float32"}, "math"),
        ({"queries": 8, "is_causal": True}, "efficient"),
    ],
)
def test_the_kernel_is_the_first_whose_constraints_hold(
    changes: dict[str, Any], kernel: str
) -> None:
    assert call(**changes).kernel == kernel


@pytest.mark.parametrize(
    ("changes", "splits"),
    [
        # 12 heads of 8 blocks of queries: 96 of 216 places, and 2 blocks of 256 keys.
        ({}, 2),
        ({"queries": 1024, "keys": 1024}, 1),  # 192 blocks are more than 0.8 of 216
        ({"queries": 1, "keys": 4096}, 16),  # 12 blocks; 16 blocks of keys are all there are
        ({"queries": 64, "keys": 256}, 1),  # one block of keys cannot be split
    ],
)
def test_keys_are_split_as_flash_attention_does(changes: dict[str, Any], splits: int) -> None:
    one = call(**changes)
    sums = 4 * splits * 12 * one.queries * (64 + 1) if splits > 1 else 0
    assert one.forward_buffer_bytes("flash") == sums


def test_a_decoded_token_of_grouped_heads_is_several_queries_of_one_head() -> None:
    one = call(kv_heads=3, queries=1, keys=2048, head_dim=128, value_dim=128)
    # 3 blocks and 16 blocks of 128 keys: 16 parts of 48 / 216 places are the best there are.
    assert one.forward_buffer_bytes("flash") == 4 * 16 * 12 * (128 + 1)


def test_backward_buffers_of_flash_attention() -> None:
    # Rows to 128, heads to 32: gradients of queries, and a sum for each.
    assert call(queries=500, head_dim=40).backward_buffer_bytes("flash") == 4 * 12 * 512 * (64 + 1)
    grouped = call(kv_heads=4)
    expanded = 2 * 512 * 12 * 64 * 2
    assert grouped.backward_buffer_bytes("flash") == 4 * 12 * 512 * 65 + expanded


def test_backward_buffers_of_the_memory_efficient_kernel() -> None:
    # Tiles of 64 x 64 floats and 4 words, 2 tiles for 100 queries; sums of 100 rows.
    half = call(heads=2, kv_heads=2, queries=100, keys=100)
    workspace = 4 * 2 * 2 * (64 * 64 + 4)
    assert half.backward_buffer_bytes("efficient") == workspace + 4 * 200
    single = call(heads=2, kv_heads=2, queries=100, keys=100, dtype="float32")
    assert single.backward_buffer_bytes("efficient") == workspace + 4 * 200
    short = call(heads=2, kv_heads=2, queries=300, keys=8, dtype="float32", value_dim=128)
    # 128 x 64 for the wide values; the product of output and gradient is what takes most.
    assert short.backward_buffer_bytes("efficient") == 4 * 600 * (128 + 2)


def test_wide_heads_of_half_precision_are_summed_outside_of_registers() -> None:
    wide = call(head_dim=160, value_dim=160, has_mask=True)
    assert wide.forward_buffer_bytes("efficient") == 4 * 12 * 512 * 160
    assert call(has_mask=True).forward_buffer_bytes("efficient") == 0
    splits = min(8, 200 // 12)
    tiles = 4 * 3 * (128 * 64 + 4)
    workspace = 4 * 12 * (tiles + splits * 64 * (256 + 256))
    assert wide.backward_buffer_bytes("efficient") == workspace + 4 * 12 * 512


def test_log_sum_exp_of_each_kernel() -> None:
    one = call(queries=100)
    assert one.log_sum_exp_bytes("flash", requires_grad=False) == 4 * 12 * 100
    assert one.log_sum_exp_bytes("efficient", requires_grad=False) == 0
    assert one.log_sum_exp_bytes("efficient", requires_grad=True) == 4 * 12 * 128


def test_masks_are_padded_to_rows_of_eight() -> None:
    assert padded_mask_bytes(3, 10, 16, "float32") == 0
    assert padded_mask_bytes(3, 10, 17, "float32") == 3 * 10 * 24 * 4
