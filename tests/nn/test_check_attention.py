"""`check_attention`: correct kernels pass in all shapes and dtypes, injected faults are found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import attnprof
from attnprof import AttentionPattern, check_attention, sliding_window_attention
from attnprof.core.errors import UsageError
from attnprof.nn.checking.sampled_rows import ALL_UP_TO, sampled_rows

DTYPES = ("float32", "float64", "bfloat16", "float16")
HALVES = ("bfloat16", "float16")

Attention = Callable[..., Tensor]


def under(pattern: AttentionPattern, change: Callable[[Tensor], Tensor] = lambda mask: mask) -> Any:
    """Dense attention under a pattern's mask after a change, at any length."""
    mask_at = cache(lambda seq_len: change(torch.tensor(pattern.mask(seq_len))))
    return lambda query, key, value: scaled_dot_product_attention(
        query, key, value, attn_mask=mask_at(query.shape[2]), enable_gqa=True
    )


def sliding(
    window: int, dilation: int | Sequence[int] = 1, positions: Sequence[int] = (), heads: int = 4
) -> AttentionPattern:
    return AttentionPattern.sliding(window, dilation, positions, num_heads=heads)


def banded(pattern: AttentionPattern, **changes: Any) -> Attention:
    options = {
        "window": (pattern.left, pattern.right),
        "causal": pattern.causal,
        "enable_gqa": True,
        "dilation": pattern.dilation,
        "global_positions": pattern.global_positions,
    }
    return lambda q, k, v, **of_globals: sliding_window_attention(
        q, k, v, **{**options, **changes, **of_globals}
    )


def refused(function: Attention, pattern: AttentionPattern, seq_len: int, **options: Any) -> str:
    with pytest.raises(AssertionError) as raised:
        check_attention(function, pattern, seq_len, **{"batch_size": 1, **options})
    message = str(raised.value)
    assert "\n" not in message
    return message


# Correct kernels.


@st.composite
def shapes(draw: st.DrawFn) -> tuple[AttentionPattern, int]:
    seq_len, heads = draw(st.integers(1, 300)), draw(st.integers(1, 3))
    causal, side = draw(st.booleans()), st.integers(1, 40)
    pattern = AttentionPattern.sliding(
        (draw(side), 0 if causal else draw(side)),
        draw(st.lists(st.integers(1, 5), min_size=heads, max_size=heads)),
        draw(st.lists(st.integers(0, seq_len - 1), max_size=3)),
        num_heads=heads,
        causal=causal,
    )
    return pattern, seq_len


@given(shapes(), st.sampled_from(DTYPES), st.sampled_from((1, 4, 16, 33)), st.data())
@settings(max_examples=60)
def test_correct_kernels_pass(
    shape: tuple[AttentionPattern, int],
    dtype: str,
    head_dim: int,
    data: st.DataObject,
) -> None:
    pattern, seq_len = shape
    has_projections, has_gradients, is_shared = (data.draw(st.booleans()) for _ in range(3))
    options: dict[str, Any] = {"dtype": dtype, "head_dim": head_dim, "batch_size": 1}
    if is_shared:
        options |= {"kv_heads": 1, "value_dim": 24}
    check_attention(
        banded(pattern),
        pattern,
        seq_len,
        global_projections=has_projections and not pattern.causal,
        gradients=has_gradients,
        **options,
    )
    check_attention(under(pattern), pattern, seq_len, gradients=has_gradients, **options)


@pytest.mark.parametrize("dtype", DTYPES)
def test_correct_kernels_pass_at_several_lengths_and_scales(dtype: str) -> None:
    pattern = sliding(64, (1, 2, 3, 1), (0, 70))
    check_attention(banded(pattern), pattern, [130, 1100], dtype=dtype, gradients=True)
    check_attention(banded(pattern, scale=0.1), pattern, 130, dtype=dtype, scale=0.1)
    dense = AttentionPattern.dense(2)
    check_attention(scaled_dot_product_attention, dense, [1, 600], dtype=dtype, gradients=True)


# Injected faults.


@pytest.mark.parametrize("change", [{"window": (9, 0)}, {"global_positions": ()}], ids=str)
def test_wrong_causal_windows_sinks_and_groups_are_found(change: dict[str, Any]) -> None:
    pattern = AttentionPattern.sliding(9, 1, (0,), num_heads=4, causal=True)
    refused(banded(pattern, **change), pattern, 80, kv_heads=2)
    right = banded(pattern)
    refused(lambda q, k, v: right(q, k.flip(1), v.flip(1)), pattern, 80, kv_heads=2)


def one_side_short(mask: Tensor) -> Tensor:
    """Each window lacks its last key on the right."""
    return mask & mask.roll(-1, 2) | torch.eye(mask.shape[1], dtype=torch.bool)


def one_side_long(mask: Tensor) -> Tensor:
    """Each window has one more key on the left."""
    return mask | mask.roll(-1, 2) & torch.ones_like(mask).tril()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seq_len", [60, 300])
@pytest.mark.parametrize("window", [8, 64])
def test_a_window_that_is_off_by_one_is_found(dtype: str, seq_len: int, window: int) -> None:
    pattern = sliding(window)
    for change in (
        one_side_short,
        one_side_long,
        lambda mask: one_side_short(mask.flip(1, 2)).flip(1, 2),
    ):
        refused(under(pattern, change), pattern, seq_len, dtype=dtype)
    for off in (-2, 2):
        refused(banded(pattern, window=window + off), pattern, seq_len, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_window_of_512_that_is_off_by_one_is_found_in_a_long_sequence(dtype: str) -> None:
    pattern = sliding(512)
    refused(banded(pattern, window=510), pattern, 4200, dtype=dtype, batch_size=1, head_dim=64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seq_len", [60, 400])
def test_a_missing_global_row_or_column_is_found(dtype: str, seq_len: int) -> None:
    pattern = sliding(16, positions=(5, 41))
    local = torch.tensor(sliding(16).mask(seq_len))

    def without_row(mask: Tensor) -> Tensor:
        mask[:, 41] = local[:, 41]
        mask[:, 41, 5] = True
        return mask

    def without_column(mask: Tensor) -> Tensor:
        global_rows = mask[:, [5, 41]].clone()
        mask[:, :, 41] = local[:, :, 41]
        mask[:, [5, 41]] = global_rows
        return mask

    message = refused(under(pattern, without_row), pattern, seq_len, dtype=dtype)
    assert "position 41," in message
    refused(under(pattern, without_column), pattern, seq_len, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factor", [0.9, 1.1, 4.0])
def test_a_wrong_scale_is_found(dtype: str, factor: float) -> None:
    pattern = sliding(16)
    for seq_len in (60, 300):
        refused(banded(pattern, scale=factor * 0.25), pattern, seq_len, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_missing_dilation_or_that_of_another_head_is_found(dtype: str) -> None:
    pattern = sliding(16, (1, 1, 2, 3))
    for seq_len in (60, 300):
        refused(banded(pattern, dilation=1), pattern, seq_len, dtype=dtype)
        message = refused(banded(pattern, dilation=(1, 1, 3, 3)), pattern, seq_len, dtype=dtype)
        assert "head 2" in message
        refused(banded(pattern, dilation=(1, 2, 1, 3)), pattern, seq_len, dtype=dtype)


@pytest.mark.parametrize("seq_len", [60, 4100])
def test_a_missing_last_block_is_found(seq_len: int) -> None:
    pattern = sliding(16)

    def dropped(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = banded(pattern)(query, key, value)
        output[:, :, seq_len // 32 * 32 :] = 0
        return output

    message = refused(dropped, pattern, seq_len)
    assert int(message.split("position ")[1].split(",")[0]) >= seq_len // 32 * 32


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", [32, 64, 128, 192, 256, 1024])
def test_a_mask_that_leaks_at_the_edges_of_tiles_is_found_in_a_long_sequence(
    dtype: str, block: int
) -> None:
    """The first query of each tile attends to one key too many."""
    pattern, seq_len = sliding(32, heads=1), 4200
    edges = torch.arange(block, seq_len, block)

    def leaking(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = banded(pattern)(query, key, value)
        reached = edges[:, None] + torch.arange(-17, 17)
        inside = reached < seq_len
        near = reached.clamp(0, seq_len - 1)
        scores = (query[:, :, edges, None] * key[:, :, near]).sum(-1) / query.shape[-1] ** 0.5
        weights = scores.masked_fill(~inside, -torch.inf).softmax(-1)
        output[:, :, edges] = (weights[..., None] * value[:, :, near]).sum(-2)
        return output

    message = refused(leaking, pattern, seq_len, dtype=dtype, batch_size=1)
    assert int(message.split("position ")[1].split(",")[0]) % block == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_that_was_never_written_is_found(dtype: str) -> None:
    """Some rows are not written; what they contain is random, except in the check."""
    pattern = sliding(16)
    for rows, seq_len in ((slice(40, 41), 60), (slice(-1, None), 4100)):

        def lacking(query: Tensor, key: Tensor, value: Tensor, rows: slice = rows) -> Tensor:
            whole = banded(pattern)(query, key, value)
            output = torch.empty_like(whole)
            written = torch.ones(len(whole[0, 0]), dtype=torch.bool)
            written[rows] = False
            output[:, :, written] = whole[:, :, written]
            return output

        message = refused(lacking, pattern, seq_len, dtype=dtype)
        assert "output is nan at position" in message
        assert "not finite" in message


def test_a_single_nan_is_reported_with_its_position() -> None:
    pattern = sliding(8)

    def spoiled(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = banded(pattern)(query, key, value)
        output[1, 2, 7, 3] = torch.nan
        return output

    message = refused(spoiled, pattern, 40, batch_size=2)
    assert "sequence 1 of the batch: output is nan at position 7, head 2 where" in message
    assert "1 of 160 vectors are wrong (40 tokens, float32)" in message


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["query", "key", "value", "global_query", "global_value"])
@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_gradient_that_is_wrong_or_missing_is_found(dtype: str, name: str, share: float) -> None:
    pattern = sliding(16, positions=(3,))
    names = ("query", "key", "value", "global_query", "global_key", "global_value")

    def attend(*tensors: Tensor, **of_globals: Tensor) -> Tensor:
        inputs = dict(zip(names, (*tensors, *of_globals.values()), strict=True))
        constant = inputs[name].detach()
        inputs[name] = constant + share * (inputs[name] - constant)
        ordinary = [inputs.pop(name) for name in names[:3]]
        return banded(pattern)(*ordinary, **inputs)

    for seq_len in (60, 300):
        message = refused(
            attend, pattern, seq_len, dtype=dtype, gradients=True, global_projections=True
        )
        assert f"gradient of {name} is" in message


def test_projections_of_global_tokens_are_not_mixed_up() -> None:
    pattern = sliding(16, positions=(3,))

    def swapped(q: Tensor, k: Tensor, v: Tensor, **of_globals: Tensor) -> Tensor:
        return banded(pattern)(q, k, v)  # ignores the projections of global tokens

    message = refused(swapped, pattern, 60, global_projections=True)
    assert "position 3, " in message


# Outputs and arguments of the wrong kind.


def test_an_output_of_another_type_shape_or_dtype_is_reported() -> None:
    pattern = sliding(8)
    assert "returns tuple, not a tensor" in refused(lambda q, k, v: (q,), pattern, 16)  # type: ignore[arg-type,return-value]
    message = refused(lambda q, k, v: q[:, :, :8], pattern, 16, batch_size=2)
    assert "returns float32 (2, 4, 8, 16), not float32 (2, 4, 16, 16)" in message
    assert "returns float64" in refused(lambda q, k, v: q.double(), pattern, 16)
    message = refused(
        lambda q, k, v: banded(pattern)(q, k, v).detach(), pattern, 16, gradients=True
    )
    assert "output has no gradient" in message


def test_an_explicit_tolerance_replaces_the_derived_one() -> None:
    pattern = sliding(8)

    def off(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return banded(pattern)(query, key, value) + 1e-3

    assert "float32 allows" in refused(off, pattern, 40)
    check_attention(off, pattern, 40, tolerance=2e-3)
    assert "allows 0.0005 per element" in refused(off, pattern, 40, tolerance=5e-4)


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("dtype", {"dtype": "float8"}),
        ("tolerance", {"tolerance": 0.0}),
        ("seq_len", {"seq_len": []}),
        ("seq_len", {"seq_len": 0}),
    ],
)
def test_arguments_are_checked(argument: str, options: dict[str, Any]) -> None:
    pattern = sliding(8)
    with pytest.raises(UsageError, match=argument):
        check_attention(banded(pattern), pattern, **{"seq_len": 40, **options})


def test_it_is_public() -> None:
    assert "check_attention" in attnprof.__all__
    check_attention(banded(sliding(8)), sliding(8), 20, dtype=torch.float64)


def test_the_sample_has_ends_globals_and_edges_and_does_not_grow() -> None:
    pattern = sliding(512, (1, 1, 2, 2), (0, 77, 3000))
    sizes = []
    for seq_len in (5000, 50_000, 5_000_000):
        rows = set(sampled_rows(pattern, seq_len))
        sizes.append(len(rows))
        assert {0, 1, seq_len - 2, seq_len - 1, 77, 3000, 255, 256, 257} <= rows
        for block in (32, 64, 128, 192, 256, 512, 1024):
            assert {block - 1, block, seq_len // block * block - 1} <= rows
            assert {2 * block - 1, 2 * block} <= rows  # an edge of a head with dilation 2
    assert max(sizes) < 200
    assert sampled_rows(pattern, ALL_UP_TO) == list(range(ALL_UP_TO))
