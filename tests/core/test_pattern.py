"""`pairs` in closed form against the enumerated definition."""

from __future__ import annotations

import sys
import tracemalloc
from types import FrameType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnprof import AttentionPattern, AttentionStack
from attnprof.core.errors import UsageError


@st.composite
def patterns_with_lengths(draw: st.DrawFn) -> tuple[AttentionPattern, int]:
    seq_len = draw(st.integers(1, 60))
    heads = draw(st.integers(1, 3))
    causal = draw(st.booleans())
    window = draw(
        st.one_of(
            st.integers(1, 80) if causal else st.integers(1, 40).map(lambda half: 2 * half),
            st.tuples(st.integers(0, 70), st.just(0) if causal else st.integers(0, 70)),
            st.none(),
        )
    )
    if window is None:
        return AttentionPattern.dense(heads, causal=causal), seq_len
    return (
        AttentionPattern.sliding(
            window=window,
            causal=causal,
            dilation=draw(st.lists(st.integers(1, 70), min_size=heads, max_size=heads)),
            global_positions=draw(st.lists(st.integers(0, seq_len - 1), max_size=8)),
            num_heads=heads,
        ),
        seq_len,
    )


def attends_to(pattern: AttentionPattern, head: int, query: int, key: int) -> bool:
    """The definition of the paper's section 3.1, or of a causal window with sinks, for one pair."""
    if pattern.causal and key > query:
        return False
    if key in pattern.global_positions or pattern.is_dense:
        return True
    if query in pattern.global_positions and not pattern.causal:
        return True
    steps, remainder = divmod(abs(query - key), pattern.dilation[head])
    side = pattern.left if key <= query else pattern.right
    assert side is not None
    return remainder == 0 and steps <= side


@given(patterns_with_lengths())
def test_pairs_equals_the_enumerated_mask(drawn: tuple[AttentionPattern, int]) -> None:
    pattern, seq_len = drawn
    assert pattern.pairs(seq_len) == int(pattern.mask(seq_len).sum())


@given(patterns_with_lengths(), st.data())
def test_pairs_of_the_last_queries_are_the_last_rows_of_the_mask(
    drawn: tuple[AttentionPattern, int], data: st.DataObject
) -> None:
    pattern, seq_len = drawn
    queries = data.draw(st.integers(1, seq_len))
    assert pattern.pairs(seq_len, queries) == int(pattern.mask(seq_len)[:, -queries:].sum())


@given(patterns_with_lengths())
def test_mask_equals_the_definition_pair_by_pair(drawn: tuple[AttentionPattern, int]) -> None:
    pattern, seq_len = drawn
    expected = [
        [[attends_to(pattern, head, i, j) for j in range(seq_len)] for i in range(seq_len)]
        for head in range(pattern.num_heads)
    ]
    assert np.array_equal(pattern.mask(seq_len), np.array(expected))


@given(patterns_with_lengths(), st.integers(0, 60), st.integers(0, 60))
def test_mask_rows_equals_these_rows_of_mask(
    drawn: tuple[AttentionPattern, int], first: int, second: int
) -> None:
    pattern, seq_len = drawn
    start, stop = sorted((min(first, seq_len), min(second, seq_len)))
    rows = pattern.mask_rows(seq_len, start, stop)
    assert np.array_equal(rows, pattern.mask(seq_len)[:, start:stop])


def test_pairs_of_one_head_with_window_512_at_4096_tokens() -> None:
    assert AttentionPattern.sliding(512, num_heads=1).pairs(4096) == 2_035_456


def test_pairs_of_causal_patterns_are_those_of_the_published_check_values() -> None:
    assert AttentionPattern.sliding(1024, num_heads=1, causal=True).pairs(32_768) == 33_030_656
    n = 10_000_000
    assert AttentionPattern.dense(1, causal=True).pairs(n) == n * (n + 1) // 2
    assert AttentionPattern.dense(1, causal=True).pairs(n, queries=1) == n


def test_a_causal_window_counts_the_query_itself_and_others_do_not() -> None:
    causal = AttentionPattern.sliding(4, num_heads=1, causal=True)
    assert causal.mask(9)[0, 8].nonzero()[0].tolist() == [5, 6, 7, 8]
    assert AttentionPattern.sliding((3, 0), num_heads=1, causal=True) == causal
    assert np.array_equal(AttentionPattern.sliding((3, 0), num_heads=1).mask(9), causal.mask(9))
    symmetric = AttentionPattern.sliding(4, num_heads=1)
    assert symmetric.mask(9)[0, 4].nonzero()[0].tolist() == [2, 3, 4, 5, 6]
    assert AttentionPattern.sliding((2, 2), num_heads=1) == symmetric


def test_sinks_are_seen_by_later_queries_and_see_no_later_key() -> None:
    mask = AttentionPattern.sliding(1, 1, (1,), num_heads=1, causal=True).mask(4)[0]
    assert mask.astype(int).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1]]


def test_dense_attends_to_all_pairs() -> None:
    assert AttentionPattern.dense(3).pairs(50) == 3 * 50 * 50
    assert AttentionPattern.dense(3).mask(5).all()


def test_positions_are_sorted_and_unique() -> None:
    assert AttentionPattern.sliding(4, 1, (7, 2, 7)).global_positions == (2, 7)


def test_counting_pairs_takes_no_more_steps_and_memory_for_ten_million_tokens() -> None:
    pattern = AttentionPattern.sliding(512, [1] * 10 + [4] * 2, range(64))
    assert _steps(pattern, 10_000_000) == _steps(pattern, 10_000)
    tracemalloc.start()
    pattern.pairs(10_000_000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2**20


def _steps(pattern: AttentionPattern, seq_len: int) -> int:
    """Lines of Python that counting the pairs executes."""
    steps = 0

    def trace(frame: FrameType, event: str, argument: object) -> object:
        nonlocal steps
        steps += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        pattern.pairs(seq_len)
    finally:
        sys.settrace(before)
    return steps


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"window": 511}, "window"),
        ({"window": 0}, "window"),
        ({"window": -2}, "window"),
        ({"window": 3.0}, "window"),
        ({"window": 0, "causal": True}, "window"),
        ({"window": (3, 1), "causal": True}, "window"),
        ({"window": (3, -1)}, "window"),
        ({"window": (3, 1, 2)}, "window"),
        ({"dilation": 0}, "dilation"),
        ({"dilation": [1, 2]}, "dilation"),
        ({"global_positions": [-1]}, "global_positions"),
        ({"num_heads": 0}, "num_heads"),
        ({"num_heads": True}, "num_heads"),
    ],
)
def test_illegal_patterns_name_their_argument(arguments: dict[str, object], argument: str) -> None:
    with pytest.raises(UsageError) as raised:
        AttentionPattern.sliding(**arguments)  # type: ignore[arg-type]
    assert raised.value.argument == argument


@pytest.mark.parametrize("method", ["pairs", "mask"])
def test_positions_outside_the_sequence_are_refused(method: str) -> None:
    pattern = AttentionPattern.sliding(4, 1, (10,))
    getattr(pattern, method)(11)
    with pytest.raises(UsageError, match="outside a sequence of 10"):
        getattr(pattern, method)(10)


def test_pairs_of_a_stack_are_the_sum_over_its_layers() -> None:
    layers = tuple(AttentionPattern.sliding(w, num_heads=2) for w in (2, 4, 4))
    stack = AttentionStack(layers=layers)
    assert stack.pairs(9) == sum(int(layer.mask(9).sum()) for layer in layers)


def sliding_with(positions: tuple[int, ...]) -> AttentionPattern:
    return AttentionPattern.sliding(4, 1, positions, 2)


def test_layers_of_a_stack_agree_on_heads_and_positions() -> None:
    two, three = AttentionPattern.dense(2), AttentionPattern.dense(3)
    with pytest.raises(
        UsageError, match="num_heads 2:3: must be the same in all layers of a stack"
    ):
        AttentionStack(layers=(two, three))
    with pytest.raises(UsageError, match="global_positions differ: must be the same in all layers"):
        AttentionStack(layers=(sliding_with((0,)), two, sliding_with((1,))))
    with pytest.raises(UsageError, match="causal differs: must be the same in all layers"):
        AttentionStack(layers=(two, AttentionPattern.dense(2, causal=True)))
    AttentionStack(layers=(sliding_with((0,)), two))
    with pytest.raises(UsageError, match="needs at least one layer"):
        AttentionStack(layers=())
