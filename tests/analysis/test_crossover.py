"""Crossovers against a search through every length, and measured ones against known lines."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import attnprof
from attnprof import AttentionPattern, Workload
from attnprof.analysis import findings
from attnprof.analysis.crossover import (
    Crossover,
    Side,
    search_crossover,
    side_of,
    solve_crossover,
)
from attnprof.analysis.findings.crossovers import lasting
from attnprof.kernels.builtin import bert_eager, bert_sdpa, longformer_banded, longformer_hf


def through_every_length(
    cost: Callable[[int], int], reference: Callable[[int], int], longest: int
) -> Crossover:
    """The definition: the side at the longest length, and the last length that has another."""
    sides = {n: side_of(cost(n), reference(n)) for n in range(1, longest + 1)}
    before = max((n for n in sides if sides[n] != sides[longest]), default=0)
    return Crossover(sides[longest], before, before + 1)


@given(
    slope=st.integers(0, 400),
    constant=st.integers(0, 5000),
    step=st.integers(1, 64),
    longest=st.integers(1, 900),
)
def test_crossing_of_a_padded_linear_cost_equals_the_search(
    slope: int, constant: int, step: int, longest: int
) -> None:
    def cost(n: int) -> int:
        return constant + slope * -(-n // step) * step

    def reference(n: int) -> int:
        return n * n + 3 * n

    expected = through_every_length(cost, reference, longest)
    assert solve_crossover(cost, reference, longest, step) == expected


@given(
    slopes=st.tuples(st.integers(0, 400), st.integers(0, 400)),
    squares=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    longest=st.integers(1, 900),
)
def test_a_crossover_is_found_in_either_direction(
    slopes: tuple[int, int], squares: tuple[int, int], longest: int
) -> None:
    cost, reference = (
        lambda n, s=slope, q=square: s * n + q * n * n
        for slope, square in zip(slopes, squares, strict=True)
    )
    assert solve_crossover(cost, reference, longest) == through_every_length(
        cost, reference, longest
    )


@cache
def dense_peaks(kernel: Any) -> dict[int, int]:
    dense = Workload(AttentionPattern.dense(), 2400, dtype="bfloat16")
    return {n: kernel.peak_bytes(dense.at(n)) for n in range(20, 2401)}


@given(window=st.sampled_from((32, 512)), dilation=st.sampled_from((1, 2, 4)), g=st.integers(0, 20))
@settings(max_examples=10, deadline=None)
def test_crossing_is_exact_for_the_memory_of_tiles(window: int, dilation: int, g: int) -> None:
    # Undilated, with several globals, another number of tiles brings the two together once more:
    # 41 lengths from 2,176 on for 8 globals, fewer than the spacing of the probes there.
    assume(window == 32 or dilation > 1 or g < 2)
    sliding = Workload(AttentionPattern.sliding(window, dilation, range(g)), 2400, dtype="bfloat16")
    costs = {n: longformer_banded.peak_bytes(sliding.at(n)) for n in range(20, 2401)}
    for kernel in (bert_sdpa, bert_eager):
        references = dense_peaks(kernel)
        cost, reference = (lambda n, of=of: of[max(20, n)] for of in (costs, references))
        expected = through_every_length(cost, reference, 2400)
        assert solve_crossover(cost, reference, 2400) == expected


@given(
    slope=st.integers(1, 400),
    steps=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    longest=st.integers(200, 2000),
)
def test_costs_with_different_padding_cross_where_the_search_says(
    slope: int, steps: tuple[int, int], longest: int
) -> None:
    def cost(n: int) -> int:
        return slope * -(-n // steps[0]) * steps[0]

    def reference(n: int) -> int:
        return (-(-n // steps[1]) * steps[1]) ** 2

    expected = through_every_length(cost, reference, longest)
    ripple = 64 + 2 * sum(steps)
    assert solve_crossover(cost, reference, longest, ripple=ripple) == expected


def test_costs_that_meet_at_every_step_cross_after_the_last() -> None:
    padded = lambda n: (-(-n // 48) * 48) ** 2  # noqa: E731
    assert solve_crossover(lambda n: n * n, padded, 4096, ripple=98) == Crossover(
        "less", 4080, 4081
    )


class Sides:
    """Sides of two costs, and the lengths at which they were requested."""

    def __init__(self, crossing: int, runs: Callable[[int], bool] = bool) -> None:
        self.crossing, self.runs, self.asked = crossing, runs, set[int]()

    def __call__(self, n: int) -> Side | None:
        self.asked.add(n)
        return None if not self.runs(n) else "less" if n >= self.crossing else "more"


@given(crossing=st.integers(2, 4000), guess=st.none() | st.integers(1, 4000))
def test_counted_crossing_is_found_in_few_counts_whatever_was_guessed(
    crossing: int, guess: int | None
) -> None:
    sides = Sides(crossing)
    guessed = None if guess is None else Crossover("less", guess - 1, guess)
    found = search_crossover(sides, [1, 100, 4000], guessed)
    assert found == Crossover("less", crossing - 1, crossing)
    assert len(sides.asked) <= 3 + 2 + math.ceil(math.log2(4000))


def test_a_guess_below_the_shortest_length_is_confirmed_by_counts() -> None:
    sides = Sides(40)
    assert search_crossover(sides, [100, 200]) == Crossover("less", 0, 100)
    assert search_crossover(sides, [100, 200], Crossover("less", 39, 40)) == Crossover(
        "less", 39, 40
    )
    assert search_crossover(sides, [100, 200], Crossover("less", 50, 51)) == Crossover(
        "less", 0, 100
    )


@given(crossing=st.integers(41, 4000), block=st.integers(2, 40))
def test_costs_known_only_at_multiples_are_bracketed_by_two_of_them(
    crossing: int, block: int
) -> None:
    longest = 100 * block
    sides = Sides(min(crossing, longest), lambda n: n % block == 0)
    lengths = [block, longest]
    found = search_crossover(sides, lengths)
    if found.before:
        assert found.before < sides.crossing <= found.first
        assert found.first - found.before == block
    else:
        assert sides.crossing <= block


@pytest.fixture(scope="module")
def sides_of_longformer() -> dict[int, Side]:
    """Its side of dense attention at every length."""
    sparse, dense = (
        Workload(AttentionPattern.sliding(512, 1, (0,)), 8192),
        Workload(AttentionPattern.dense(), 8192),
    )
    return {
        n: side_of(longformer_hf.executed_macs(sparse.at(n)), bert_sdpa.executed_macs(dense.at(n)))
        for n in range(1, 8193)
    }


@pytest.mark.parametrize(
    ("lengths", "crossing", "until"),
    [
        ((1536, 2048), Crossover("less", 2147, 2148), None),
        ((1536, 2048, 2060), Crossover("more", 2048, 2049), 2147),
        ((512, 1024), Crossover("more", 0, 1), 1867),
        ((512, 1900), Crossover("less", 2147, 2148), None),
        ((4096,), Crossover("less", 2147, 2148), None),
    ],
)
def test_padding_just_beyond_the_longest_length_is_no_lasting_crossover(
    lengths: tuple[int, ...],
    crossing: Crossover,
    until: int | None,
    sides_of_longformer: dict[int, Side],
) -> None:
    """At 2,049 tokens the chunks are those of 2,560, and dense attention multiplies less."""
    table = attnprof.estimate(kernel=["bert-sdpa", "longformer-hf"], len=lengths)
    finding = next(f for f in findings.find(table).crossovers if f.resource == "MACs")
    assert (finding.crossover, finding.until) == (crossing, until)
    sides, last = sides_of_longformer, until or 8192
    assert sides[lengths[-1]] == crossing.side
    if crossing.before:
        assert sides[crossing.before] != crossing.side
        assert {sides[n] for n in range(crossing.first, last + 1)} == {crossing.side}
    if until:
        assert sides[until + 1] != crossing.side


def test_a_side_that_every_padding_step_ends_is_not_reported_as_lasting() -> None:
    """128 (⌈n/48⌉·48)² against 128 n² + 8,192 n: more where a step begins, less where it ends."""
    cost = lambda n: 128 * (-(-n // 48) * 48) ** 2  # noqa: E731
    reference = lambda n: 128 * n * n + 8192 * n  # noqa: E731
    sides = {n: side_of(cost(n), reference(n)) for n in range(1, 20_000)}
    assert sides[160] == "more"
    crossing, until = lasting(cost, reference, 160, ripple=98)
    assert until is not None
    assert {sides[n] for n in range(crossing.first, until + 1)} == {"more"}
    assert sides[crossing.before] != "more" != sides[until + 1]
