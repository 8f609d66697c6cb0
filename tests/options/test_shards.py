from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnprof import AttentionPattern, Workload, kernels
from attnprof.core.errors import UsageError
from attnprof.core.workload import Case
from attnprof.options.selection import digest_of
from attnprof.options.shards import WHOLE, Shard, groups_of_shard, read_shard

HEADS = 2


@st.composite
def grouped(draw: st.DrawFn) -> list[tuple[Case, ...]]:
    keys = draw(
        st.lists(st.tuples(st.integers(8, 4096), st.integers(1, 8)), unique=True, max_size=12)
    )
    return [
        (
            Case("bert-sdpa", Workload(AttentionPattern.dense(HEADS), n, 32, batch)),
            Case(
                "longformer-masked",
                Workload(AttentionPattern.sliding(4, num_heads=HEADS), n, 32, batch),
            ),
        )[: draw(st.integers(1, 2))]
        for n, batch in keys
    ]


def macs_of(groups: list[tuple[Case, ...]]) -> list[int]:
    return [
        sum(kernels.find(case.kernel).executed_macs(case.workload) for case in group)
        for group in groups
    ]


@given(grouped(), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_each_group_is_whole_in_exactly_one_shard(
    groups: list[tuple[Case, ...]], count: int
) -> None:
    shards = [groups_of_shard(groups, Shard(index + 1, count)) for index in range(count)]
    dealt = [group for shard in shards for group in shard]
    assert sorted(dealt, key=groups.index) == groups
    assert len(dealt) == len(groups)
    for shard in shards:
        assert shard == sorted(shard, key=groups.index)
    sizes = [len(shard) for shard in shards]
    assert max(sizes) - min(sizes) <= 1
    work = [sum(macs_of(shard)) for shard in shards]
    assert max(work) - min(work) <= max(macs_of(groups), default=0)


@given(grouped())
@settings(max_examples=20, deadline=None)
def test_the_digest_is_of_the_cases_in_whatever_order(groups: list[tuple[Case, ...]]) -> None:
    assert digest_of(groups) == digest_of([group[::-1] for group in reversed(groups)])
    if groups:
        assert digest_of(groups) != digest_of(groups[1:])


def test_a_shard_of_a_custom_kernel_needs_none_of_its_code() -> None:
    case = Case("missing:Net", Workload(AttentionPattern.dense(HEADS), 8, 32))
    assert groups_of_shard([(case,)], Shard(1, 2)) == [(case,)]
    assert groups_of_shard([(case,)], Shard(2, 2)) == []


def test_a_shard_is_read_as_it_is_written() -> None:
    assert read_shard(None) == WHOLE
    assert str(read_shard(" 2/8 ")) == "2/8"


@pytest.mark.parametrize("text", ["0/8", "9/8", "2/0", "x", "", "2", "2/8/9", "-1/8", "1/99999"])
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"must be ") as caught:
        read_shard(text)
    assert caught.value.argument == "shard"
