"""Growth and crossovers of custom kernels: real modules, whose costs follow from their code."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from estimate_in_process import estimate
from workloads import groups_by_length

from attnprof import AttentionPattern, ResultTable, kernels
from attnprof.analysis import cost_functions, findings
from attnprof.analysis.crossover import Crossover, side_of
from attnprof.analysis.findings.crossovers import CrossoverFinding
from attnprof.analysis.findings.growth import GrowthFinding
from attnprof.core.workload import Workload
from attnprof.isolation.workers import InProcessWorkers
from attnprof.kernels.custom import is_target
from attnprof.kernels.custom.target import Work
from attnprof.measure import runner
from attnprof.measure.single_case import MeasureSettings
from attnprof.options import read_cases
from attnprof.report.summary import describe_findings

SMALL: dict[str, Any] = {"hidden_size": 64, "num_heads": 4}
WIDTH = 64
WORKLOAD = Workload(AttentionPattern.dense(4), 64, hidden_size=WIDTH)


def table_of(*names: str, lengths: list[int]) -> ResultTable:
    return estimate(kernel=list(names), len=lengths, window=32, **SMALL)


def growth_of(name: str, lengths: list[int]) -> GrowthFinding:
    (finding,) = findings.find(table_of(f"mixers:{name}", lengths=lengths)).growth
    return finding


@pytest.mark.parametrize("lengths", [[100, 200], [512, 1024, 4096]])
@pytest.mark.parametrize(
    ("name", "step", "terms"),
    [
        ("Dense", 1, (0, WIDTH**2, 2 * WIDTH)),
        ("Linear", 1, (0, 3 * WIDTH**2, 0)),
        ("Chunked", 64, (0, WIDTH**2 + 2 * 64 * WIDTH, 0)),
        ("PaddedDense", 48, (0, WIDTH**2, 2 * WIDTH)),
    ],
)
def test_polynomials_and_steps_are_those_of_the_code(
    name: str, step: int, terms: tuple[int, int, int], lengths: list[int]
) -> None:
    finding = growth_of(name, lengths)
    assert finding.growth is not None
    assert (finding.step, finding.multiple, finding.law) == (step, 1, None)
    assert (finding.growth.c0, finding.growth.c1, finding.growth.c2) == terms


@pytest.mark.parametrize("lengths", [[200, 400], [512, 1024, 4096]])
@pytest.mark.parametrize(("name", "law"), [("Butterfly", "n·log n"), ("BlockSqrt", "n·sqrt n")])
def test_other_laws_are_named_at_millions_of_tokens(
    name: str, law: str, lengths: list[int]
) -> None:
    finding = growth_of(name, lengths)
    assert finding.growth is None
    assert finding.law is not None
    assert finding.law.name == law
    assert finding.law.longer > 2_000_000


def calls_at(seq_len: int) -> int:
    """Operators that one call of `Loop` runs."""
    (case,) = read_cases({"len": 64, "kernel": "mixers:Loop", **SMALL}, "cpu")
    kernel = kernels.find(case.kernel)
    assert is_target(kernel)
    return kernel.work_of_counting(case.workload.at(seq_len)).operators


def test_a_python_loop_over_blocks_is_linear() -> None:
    finding = growth_of("Loop", [512])
    assert finding.growth is not None
    assert finding.growth.c1 == WIDTH**2 + 2 * 64 * WIDTH
    assert finding.multiple % 64 == 0


def test_a_polynomial_that_fits_short_lengths_by_chance_is_no_law() -> None:
    # At 62, 124, 186 and 248 tokens the rests of blocks of 64 lie on a parabola.
    finding = growth_of("Loop", [100, 250])
    assert finding.growth is not None
    assert (finding.growth.law, finding.growth.c1) == ("n", WIDTH**2 + 2 * 64 * WIDTH)
    assert finding.multiple == 128


@pytest.mark.parametrize("lengths", [[512, 1000], [300], [400, 800]])
def test_a_window_computed_in_blocks_is_linear_at_multiples_of_the_block(
    lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A causal window of 100 keys touches the block of 128 queries itself and the one before.

    At multiples of 250 tokens the rests of the last block lie on a parabola.
    """
    monkeypatch.setattr("attnprof.core.growth.empirical.MAX_PROBED_LENGTH", 2**14)
    finding = growth_of("Flex", lengths)
    assert finding.growth is not None
    assert finding.multiple == 128
    # Pairs of n/128 blocks with themselves, all but the first with the one before; two products.
    per_pair = 2 * WIDTH
    growth = finding.growth
    assert (growth.c0, growth.c1, growth.c2) == (-(128**2) * per_pair, 2 * 128 * per_pair, 0)


def test_a_window_beyond_the_lengths_of_the_table_is_found() -> None:
    finding = growth_of("Windowed", [512, 2048])
    assert finding.growth is not None
    assert finding.law is not None
    assert (finding.growth.law, finding.law.name) == ("n²", "n")
    table = table_of("mixers:Windowed", lengths=[512, 2048])
    (line,) = dict(describe_findings(findings.find(table)))["Growth of executed MACs"]
    assert (
        "This holds up to 2,048 tokens; at longer lengths it grows linearly (n), checked up" in line
    )


@pytest.mark.parametrize("lengths", [[80], [80, 200], [400, 520]])
def test_a_module_that_accepts_only_multiples_of_a_block_has_a_growth(lengths: list[int]) -> None:
    finding = growth_of("Blocks", lengths)
    assert finding.growth is not None
    assert finding.growth.c1 == WIDTH**2 + 2 * 40 * WIDTH
    assert finding.multiple % 40 == 0


def test_positions_end_the_search_and_nothing_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    finding = growth_of("Positions", [100, 512])
    assert finding.growth is not None
    assert (finding.growth.law, finding.growth.c2) == ("n²", WIDTH)
    assert capfd.readouterr().err == ""


def recorded(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """The lengths at which the MACs of a mixer are counted from now on."""
    kernel = kernels.find(f"mixers:{name}")
    count = kernel.executed_macs
    asked: list[int] = []

    def noted(workload: Workload) -> int:
        asked.append(workload.seq_len)
        return count(workload)

    monkeypatch.setattr(kernel, "executed_macs", noted)
    cost_functions._counted_costs.cache_clear()
    return asked


@pytest.mark.parametrize("most", [100, 200, 800])
def test_a_loop_is_counted_up_to_a_number_of_operators(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """What bounds the search is work and not time: it ends at the same length on any machine."""
    asked = recorded(monkeypatch, "Loop")
    monkeypatch.setattr("attnprof.analysis.cost_functions._MOST_OPERATORS", most)
    growth_of("Loop", [96, 192])
    assert calls_at(192) < most / 2 < max(calls_at(seq_len) for seq_len in asked) <= most


def test_kernels_counted_by_real_runs_are_not_run_at_longer_lengths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = recorded(monkeypatch, "Dense")
    kernel = kernels.find("mixers:Dense")
    monkeypatch.setattr(kernel, "work_of_counting", lambda workload: Work(5, 0.01, is_real=True))
    growth_of("Dense", [96, 192])
    assert asked
    assert max(asked) <= 192


@cache
def macs_at_every_length(name: str) -> dict[int, int]:
    (case, *_) = read_cases({"len": 160, "kernel": name, **SMALL}, "cpu")
    kernel, workload = kernels.find(name), case.workload
    return {n: kernel.executed_macs(workload.at(n)) for n in range(1, 161)}


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("mixers:Chunked", "bert-sdpa"),
        ("mixers:PaddedDense", "bert-sdpa"),
        ("mixers:BlockSqrt", "bert-sdpa"),
        ("mixers:Dense", "mixers:Linear"),
        ("mixers:Dense", "mixers:Chunked"),
        ("mixers:Dense", "mixers:PaddedDense"),
        ("mixers:Loop", "mixers:Dense"),
    ],
)
def test_crossings_are_those_of_the_search_through_every_length(name: str, reference: str) -> None:
    lengths = [20, 160]
    found = findings.find(table_of(name, reference, lengths=lengths))
    finding = next(finding for finding in found.crossovers if finding.resource == "MACs")
    assert {finding.label, finding.reference} == {name, reference}
    one, other = macs_at_every_length(finding.label), macs_at_every_length(finding.reference)
    sides = {n: side_of(one[n], other[n]) for n in one}
    before = max((n for n in sides if sides[n] != sides[160]), default=0)
    expected = Crossover(sides[160], before, before + 1)
    if before < lengths[0] and finding.crossover.before == 0:
        # Where no polynomial reaches below the lengths given, these are all that is reported.
        expected = Crossover(expected.side, 0, lengths[0])
    assert finding.crossover == expected
    assert finding.ratio == pytest.approx(one[160] / other[160])


def test_predicted_memory_is_compared_too() -> None:
    found = findings.find(table_of("mixers:Dense", "mixers:Linear", lengths=[16, 400]))
    (finding,) = (finding for finding in found.crossovers if finding.resource == "memory")
    before, first = finding.crossover.before, finding.crossover.first
    (case, *_) = read_cases({"len": 400, "kernel": "mixers:Dense", **SMALL}, "cpu")
    if before:
        at = [
            side_of(
                *(
                    kernels.find(k).peak_bytes(case.workload.at(n))
                    for k in (finding.label, finding.reference)
                )
            )
            for n in (before, first)
        ]
        assert at[1] == finding.crossover.side != at[0]
        assert first == before + 1


def labels_of(crossovers: tuple[CrossoverFinding, ...]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((finding.label, finding.reference) for finding in crossovers))


def test_pairs_are_the_sensible_ones() -> None:
    built_in = ["bert-sdpa", "longformer-banded"]
    two = ["mixers:Dense", "mixers:Linear"]
    assert labels_of(findings.find(table_of(*built_in, *two, lengths=[64])).crossovers) == [
        ("longformer-banded", "bert-sdpa"),
        ("mixers:Dense", "bert-sdpa"),
        ("mixers:Dense", "mixers:Linear"),
        ("mixers:Linear", "bert-sdpa"),
    ]
    without_dense = table_of("longformer-banded", "mixers:Dense", lengths=[64])
    assert labels_of(findings.find(without_dense).crossovers) == [
        ("longformer-banded", "mixers:Dense")
    ]
    many = [f"mixers:{name}" for name in ("Dense", "Linear", "Chunked", "Loop", "BlockSqrt")]
    assert labels_of(findings.find(table_of(*many, lengths=[64])).crossovers) == [
        (many[0], later) for later in many[1:]
    ]


def test_other_shapes_are_not_compared() -> None:
    wide = estimate(kernel="mixers:Dense", len=64, **SMALL)
    narrow = estimate(kernel="mixers:Linear", len=64, hidden_size=64, num_heads=8)
    both = ResultTable([*wide.records, *narrow.records])
    assert findings.find(both).crossovers == ()


def test_one_pair_is_one_sentence() -> None:
    found = findings.find(table_of("mixers:Dense", "mixers:Linear", lengths=[16, 400]))
    (line,) = dict(describe_findings(found))["Crossover lengths"]
    assert line.startswith("mixers:Dense against mixers:Linear: more MACs from ")
    assert line.count(".") == 1 + line.count("x at")


def test_equal_costs_are_reported_as_equal() -> None:
    found = findings.find(table_of("mixers:Chunked", "mixers:Linear", lengths=[64, 128]))
    (line,) = dict(describe_findings(found))["Crossover lengths"]
    assert "equal MACs at every length tested;" in line


@pytest.mark.usefixtures("undisturbed")
def test_times_of_custom_kernels_are_paired() -> None:
    torch.manual_seed(0)
    cases = read_cases(
        {"len": [64, 128], "kernel": ["bert-sdpa", "mixers:Dense", "mixers:Linear"], **SMALL}, "cpu"
    )
    quick = MeasureSettings(count=False, memory=False, max_seconds=0.1)
    found = findings.find(
        ResultTable(runner.measure(groups_by_length(cases), quick, InProcessWorkers()))
    )
    timed = [finding for finding in found.crossovers if finding.resource == "time"]
    assert [(finding.label, finding.reference) for finding in timed] == labels_of(found.crossovers)
    for finding in timed:
        assert finding.measured is not None
        ratio = finding.measured.lengths[-1].ratio
        assert ratio is not None
        assert ratio.low <= finding.ratio <= ratio.high
