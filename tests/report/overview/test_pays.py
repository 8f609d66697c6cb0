"""From which length a kernel pays off, and at what price in memory, for literal results."""

from __future__ import annotations

import re

import pytest
from timed_tables import Speed, timed_table

import attnprof
from attnprof import ResultTable
from attnprof.report.overview import overview_of

TIMES_NS = [15 * 10**6, 42 * 10**6, 422 * 10**6]


def about(median: float) -> Speed:
    return median, median / 1.03, median * 1.03


def sentence_with(table: ResultTable, words: str) -> str:
    (sentence,) = (text for text in overview_of(table).verdict if words in text)
    return sentence


def macs(kernel: str, length: int) -> float:
    (row,) = attnprof.estimate(kernel=kernel, len=length).rows
    return row.values["executed_macs"]


@pytest.mark.parametrize("length", [1, 512])
def test_no_gain_at_the_lengths_tested_says_nothing_of_longer_ones(length: int) -> None:
    table = attnprof.estimate(kernel=["bert-sdpa", "longformer-banded"], len=length)
    sentence = sentence_with(table, "pays off")
    assert "at no length up to " in sentence
    until = 527 if length == 512 else 1
    assert f"at no length up to {until} token" in sentence
    assert macs("longformer-banded", 528) < macs("bert-sdpa", 528), "it does pay off later"
    assert macs("longformer-banded", until) > macs("bert-sdpa", until)


def test_lengths_between_two_gains_are_not_said_to_end_them() -> None:
    options: dict[str, int] = {"window": 16, "hidden_size": 64, "num_heads": 2}
    table = attnprof.estimate(kernel=["bert-eager", "longformer-hf"], len=100, **options)
    sentence = sentence_with(table, "pays off")
    found = re.search(r"at (\d+) but not from (\d+) to (\d+) tokens in MACs", sentence)
    assert found, sentence
    before, first, until = map(int, found.groups())

    def is_less(length: int) -> bool:
        kernels = ["bert-eager", "longformer-hf"]
        dense, sparse = attnprof.estimate(kernel=kernels, len=length, **options).rows
        return sparse.values["executed_macs"] < dense.values["executed_macs"]

    sides = [is_less(length) for length in (before, first, 100, until, until + 1)]
    assert sides == [True, False, False, False, True]


@pytest.mark.parametrize(("speed", "said"), [(2.0, "at"), (0.5, "not at")])
def test_all_lengths_with_the_verdict_of_the_longest_are_named(speed: float, said: str) -> None:
    speeds = {"longformer-banded": [about(1.0), about(speed), about(speed)]}
    sentence = sentence_with(timed_table(speeds, TIMES_NS), "pays off")
    assert f" {said} 1,024 and 4,096 in time" in sentence


def test_a_gain_that_padding_takes_back_once_more_is_told_where_it_was_tested() -> None:
    table = attnprof.estimate(kernel=["bert-sdpa", "longformer-hf"], len=2048)
    assert macs("longformer-hf", 2048) < macs("bert-sdpa", 2048)
    assert macs("longformer-hf", 2049) > macs("bert-sdpa", 2049)
    assert "at 2,048 and for good from 2,148 tokens in MACs" in sentence_with(table, "pays off")


@pytest.mark.parametrize(
    ("first", "withheld", "said"),
    [(2.0, [4096], "at 512"), (1.0, [4096], "not known at 4,096"), (1.0, [], "undecided at 4,096")],
)
def test_an_unknown_longest_length_does_not_hide_gains_at_others(
    first: float, withheld: list[int], said: str
) -> None:
    speeds = {"longformer-banded": [about(first), about(1.0), about(1.0)]}
    sentence = sentence_with(timed_table(speeds, TIMES_NS, withheld=withheld), "pays off")
    assert f" {said} in time" in sentence


def test_undecided_at_the_same_lengths_are_told_together() -> None:
    speeds = {kernel: [about(1.0)] * 3 for kernel in ("longformer-banded", "longformer-hf")}
    line = overview_of(timed_table(speeds, TIMES_NS)).undecided
    assert line.startswith("~ undecided: longformer-banded and longformer-hf at 512 to 4,096")


@pytest.mark.parametrize("withheld", [[512, 1024, 4096], []])
def test_without_a_winner_in_time_the_price_in_memory_is_told(withheld: list[int]) -> None:
    speeds = {"longformer-hf": [about(1.0)] * 3}
    sentence = sentence_with(timed_table(speeds, TIMES_NS, withheld=withheld), "More memory")
    assert sentence == "More memory than bert-sdpa at 4,096: longformer-hf (9.22x)."


def test_a_tie_in_macs_does_not_hide_who_needs_more_memory() -> None:
    table = attnprof.estimate(kernel=["bert-sdpa", "bert-eager", "longformer-banded"], len=256)
    assert "bert-eager" in sentence_with(table, "More memory")
    assert overview_of(table).verdict[0].endswith(" their MACs.")


def test_a_crossover_below_the_shortest_length_is_no_saving() -> None:
    """A kernel that needs less memory up to 3 tokens only saves none at the lengths tested."""
    kernels = ["bert-sdpa", "longformer-banded"]
    table = attnprof.estimate(len=[512, 16_384], kernel=kernels, scope="layer")
    (sentence,) = (text for text in overview_of(table).verdict if "pays off" in text)
    assert sentence.endswith("in MACs and at no length tested in memory (predicted).")


@pytest.mark.parametrize(("shorter", "lead"), [(1024, "for good from"), (512, "from")])
def test_a_gain_that_is_lost_again_is_not_the_first(shorter: int, lead: str) -> None:
    """At 1,024 tokens it needs less memory, but from 1,536 to 1,745 more once again."""
    kernels = ["bert-sdpa", "longformer-banded"]
    table = attnprof.estimate(len=[shorter, 4096], kernel=kernels, device="cpu")
    peaks = {
        (row.kernel, row.workload.seq_len): row.integer("predicted_peak_bytes")
        for row in table.rows
    }
    is_less = (peaks["longformer-banded", shorter] or 0) < (peaks["bert-sdpa", shorter] or 0)
    assert is_less == (lead == "for good from")
    (sentence,) = (text for text in overview_of(table).verdict if "pays off" in text)
    assert f"{lead} 1,746 tokens in memory (predicted)." in sentence


def test_what_pays_off_only_below_a_length_is_said_with_it() -> None:
    speeds = {"longformer-banded": [about(2.0), about(2.0), about(0.5)]}
    (sentence,) = (
        sentence
        for sentence in overview_of(timed_table(speeds, TIMES_NS)).verdict
        if "pays off" in sentence
    )
    # As far from 2x at 1,024 as from 0.5x at 4,096: their geometric mean.
    assert "only up to about 2,0" in sentence
