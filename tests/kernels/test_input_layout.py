"""The order of dimensions of inputs, how modules are called, and options without effect."""

from __future__ import annotations

from typing import Any

import pytest
from estimate_in_process import estimate
from workloads import HEADS, HIDDEN

from attnprof import AttentionPattern, Workload, kernels
from attnprof.core.errors import UsageError

FEED_FORWARD = 128


def _estimate(kernel: str, **options: Any) -> Any:
    return estimate(kernel=kernel, hidden_size=HIDDEN, num_heads=HEADS, **options).rows


_LAYER = 4 * HIDDEN**2 + 2 * HIDDEN * FEED_FORWARD


@pytest.mark.parametrize(
    ("name", "per_token"),
    [
        ("layer", _LAYER),
        ("encoder", _LAYER),
        ("Sequence", _LAYER),
        ("Transposing", _LAYER),
        ("Tokens", _LAYER),
        ("in_sequence", _LAYER),
        ("attention", 4 * HIDDEN**2),
    ],
)
def test_the_sequence_dimension_is_that_of_the_module(name: str, per_token: int) -> None:
    """By formula: with the wrong layout, there would be 48 sequences of 2 tokens."""
    (row,) = _estimate(f"layouts:{name}", len=48, batch_size=2)
    assert row.integer("executed_macs") == 2 * (48 * per_token + 2 * 48**2 * HIDDEN)
    assert row.detail == ""


def test_a_recurrent_layer_steps_through_the_length() -> None:
    kernel = kernels.find("layouts:gru")
    workload = Workload(AttentionPattern.dense(HEADS), 24, hidden_size=HIDDEN, batch_size=2)
    assert kernel.build(workload).kwargs["input"].shape == (24, 2, HIDDEN)


def test_an_assumed_layout_is_noted() -> None:
    row, described = (
        _estimate(f"layouts:{name}", len=48)[0]
        for name in ("Folding", "Folding(x=len,batch,hidden)")
    )
    assert (
        "inputs assumed to be batch,len,…: the module does not show which comes first" in row.detail
    )
    assert "--input x=len,batch,hidden" in row.detail
    assert described.detail == ""


def test_builtins_and_positional_arguments_are_counted() -> None:
    (scores,) = _estimate("layouts:scores", len=128)
    assert scores.integer("executed_macs") == 128 * 128 * HIDDEN
    (product,) = _estimate("torch:matmul(input=len,hidden;other=hidden,len)", len=128)
    assert product.integer("executed_macs") == 128 * 128 * HIDDEN
    attention = "torch.nn.functional:scaled_dot_product_attention"
    assert _estimate(attention, len=128)[0].integer("executed_macs") == 2 * 128 * 128 * HIDDEN
    with pytest.raises(UsageError, match="--input other="):
        _estimate("torch:matmul", len=128)
    with pytest.raises(UsageError, match="has no argument othr; did you mean other"):
        _estimate("torch:matmul(input=len,hidden;othr=hidden,len)", len=128)


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ("layouts:call", "--batch-size 4, --hidden-size 64, --num-heads 4 ("),
        ("layouts:fixed", "--len 32, --batch-size 4, --hidden-size 64, --num-heads 4 ("),
        ("layouts:Transposing(x=1,len,64)", "--batch-size 4 ("),
        ("layouts:Transposing", ""),
    ],
)
def test_options_without_effect_are_named(kernel: str, options: str) -> None:
    (row,) = _estimate(kernel, len=32, batch_size=4)
    assert row.detail.startswith(f"no effect: {options}" if options else "")
    assert bool(row.detail) == bool(options)
