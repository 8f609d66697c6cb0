"""Shapes of workloads: what sizes that are not given stand for, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from attnprof import AttentionPattern, Workload
from attnprof.core.errors import UsageError

CAUSAL = AttentionPattern.dense(8, causal=True)


def test_sizes_that_are_not_given_are_those_of_bert() -> None:
    workload = Workload(AttentionPattern.dense(), 16)
    assert (workload.kv_heads, workload.head_dim, workload.value_dim) == (12, 64, 64)
    assert workload.has_equal_widths
    assert (workload.queries, workload.new_tokens) == (16, 0)


def test_grouped_heads_of_free_width() -> None:
    workload = Workload(CAUSAL, 16, 100, kv_heads=2, head_dim=6, value_dim=5)
    widths = (workload.query_width, workload.key_width, workload.value_width)
    assert (*widths, workload.output_width) == (48, 12, 10, 40)
    assert not workload.has_equal_widths


def test_decoding_has_the_last_tokens_as_queries() -> None:
    one = Workload(CAUSAL, 16, 64, mode="decode")
    assert (one.queries, one.pairs) == (1, 8 * 16)
    three = Workload(CAUSAL, 16, 64, mode="decode", new_tokens=3)
    assert three.pairs == 8 * (14 + 15 + 16)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"kv_heads": 3}, "kv_heads 3: must divide num_heads 8"),
        ({"hidden_size": 100}, "num_heads 8: must divide hidden_size 100"),
        ({"new_tokens": 2}, "new_tokens 2: needs mode decode"),
        ({"new_tokens": 17, "mode": "decode"}, "new_tokens 17: must be at most the sequence"),
        ({"head_dim": -1}, "head_dim -1: must be a positive whole number"),
    ],
)
def test_sizes_that_no_layer_has_are_refused(sizes: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Workload(CAUSAL, 16, **{"hidden_size": 64, **sizes})
