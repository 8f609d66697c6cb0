"""Closed forms against sums over the enumerated mask, growth against polynomials made up here."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnprof import AttentionPattern, AttentionStack, Workload
from attnprof.errors import UsageError
from attnprof.formulas import useful_macs
from attnprof.growth import doubling_exponent, measured_crossing, pays_from, solve_growth
from attnprof.kernels import bert_eager, bert_sdpa, longformer_banded
from attnprof.models import MODELS, find_model


def enumerated_macs(workload: Workload) -> int:
    """Rows through projections, and two products of head_dim for each pair, one at a time."""
    macs = 0
    for layer in workload.layers:
        projected_rows = 3 * workload.seq_len
        if layer.global_positions:
            projected_rows += 2 * workload.seq_len + len(layer.global_positions)
        macs += projected_rows * workload.hidden_size * workload.hidden_size
        if workload.scope == "layer":
            sides = [workload.hidden_size, workload.hidden_size]  # the output projection
            sides += [4 * workload.hidden_size, workload.hidden_size]  # up, and down again
            macs += workload.seq_len * sum(a * b for a, b in pairwise(sides))
        macs += int(layer.mask(workload.seq_len).sum()) * workload.head_dim * 2
    return macs * workload.batch_size


def test_useful_macs_equal_the_enumerated_sum(workload: Workload) -> None:
    passes = 3 if workload.mode == "training" else 1
    assert useful_macs(workload) == passes * enumerated_macs(workload)


def test_example_of_the_design() -> None:
    workload = Workload(AttentionPattern.dense(), 1024)
    assert useful_macs(workload) == 1_811_939_328 + 1_610_612_736


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"seq_len": 0}, "seq_len"),
        ({"batch_size": 0}, "batch_size"),
        ({"hidden_size": -1}, "hidden_size"),
        ({"hidden_size": 770}, "num_heads"),
        ({"dtype": "float33"}, "dtype"),
        ({"device": "gpu"}, "device"),
        ({"mode": "train"}, "mode"),
        ({"scope": "stack"}, "scope"),
        ({"pattern": AttentionPattern.sliding(4, 1, (99,))}, "global_positions"),
    ],
)
def test_illegal_workloads_name_their_argument(arguments: dict[str, object], argument: str) -> None:
    legal: dict[str, object] = {"pattern": AttentionPattern.dense(), "seq_len": 64}
    with pytest.raises(UsageError) as raised:
        Workload(**{**legal, **arguments})  # type: ignore[arg-type]
    assert raised.value.argument == argument


def test_densified_keeps_the_number_of_layers_and_the_scope() -> None:
    layer = AttentionPattern.sliding(4, num_heads=2)
    single, stack = Workload(layer, 8, 4), Workload(AttentionStack(layers=(layer,) * 3), 8, 4)
    assert [one.is_dense for one in single.densified().layers] == [True]
    assert [one.is_dense for one in stack.densified().layers] == [True] * 3
    assert Workload(layer, 8, 4, scope="layer").densified().scope == "layer"


@given(
    st.tuples(*[st.integers(-50, 50)] * 2, st.integers(0, 50)),
    st.lists(st.integers(1, 10_000), min_size=4, max_size=4, unique=True),
)
def test_growth_finds_the_polynomial(
    coefficients: tuple[int, int, int], lengths: list[int]
) -> None:
    c0, c1, c2 = coefficients
    growth = solve_growth(lambda n: c0 + c1 * n + c2 * n * n, lengths)
    assert (growth.c0, growth.c1, growth.c2, growth.residual) == (c0, c1, c2, 0)


def test_growth_of_another_law_leaves_a_residual() -> None:
    assert solve_growth(lambda n: n**3, (1, 2, 3, 4)).residual == Fraction(6)


def test_growth_names_the_law_and_the_share() -> None:
    growth = solve_growth(lambda n: 100 * n + n * n, (1, 2, 3, 4))
    assert growth.law == "n²"
    assert growth.quadratic_share(300) == 0.75
    assert growth.quadratic_overtakes_at == 101
    linear = solve_growth(lambda n: 7 + 3 * n, (1, 2, 3, 4))
    assert (linear.law, linear.quadratic_overtakes_at) == ("n", None)
    assert solve_growth(lambda n: 7, (1, 2, 3, 4)).law == "constant"


def test_growth_needs_four_lengths() -> None:
    with pytest.raises(ValueError, match="four different lengths"):
        solve_growth(lambda n: n, (1, 2, 2, 3))


def test_doubling_exponent() -> None:
    assert doubling_exponent((10, 5), (20, 20)) == pytest.approx(2)


@given(
    slope=st.integers(0, 400),
    constant=st.integers(0, 5000),
    step=st.integers(1, 64),
    longest=st.integers(1, 900),
)
def test_pays_from_equals_the_search_through_every_length(
    slope: int, constant: int, step: int, longest: int
) -> None:
    def cost(n: int) -> int:
        return constant + slope * -(-n // step) * step

    def reference(n: int) -> int:
        return n * n + 3 * n

    last_failing = max((n for n in range(1, longest + 1) if cost(n) >= reference(n)), default=0)
    expected = last_failing + 1 if last_failing < longest else None
    assert pays_from(cost, reference, step, longest) == expected


@given(window=st.sampled_from((32, 512)), dilation=st.sampled_from((1, 2, 4)), g=st.integers(0, 20))
@settings(max_examples=10)
def test_pays_from_is_exact_for_the_memory_of_tiles(window: int, dilation: int, g: int) -> None:
    sliding = Workload(AttentionPattern.sliding(window, dilation, range(g)), 2400, dtype="bfloat16")
    dense = Workload(AttentionPattern.dense(), 2400, dtype="bfloat16")
    costs = {n: longformer_banded.peak_bytes(sliding.at(n)) for n in range(20, 2401)}
    for kernel in (bert_sdpa, bert_eager):
        references = {n: kernel.peak_bytes(dense.at(n)) for n in costs}
        last_failing = max((n for n in costs if costs[n] >= references[n]), default=0)
        expected = last_failing + 1 if last_failing < 2400 else None
        cost, reference = (lambda n, of=of: of[max(20, n)] for of in (costs, references))
        assert pays_from(cost, reference, 1, 2400) == expected


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([1.9, 1.9, 1.9], None),
        ([0.1, 0.1, 1.9], None),
        ([1.9, 0.1, 0.1], (10, 20)),
        ([0.1, 1.9, 0.1], (20, 40)),
        ([0.1, 0.1, 0.1], (0, 10)),
        ([1.0, 1.0, 1.0], None),
        ([], None),
    ],
)
def test_measured_crossing(ratios: list[float], expected: tuple[int, int] | None) -> None:
    assert measured_crossing(list(zip((10, 20, 40), ratios, strict=False))) == expected


def test_every_model_can_be_found_and_has_whole_heads() -> None:
    for model in MODELS:
        assert find_model(model.name) is model
        assert model.hidden_size % model.num_heads == 0
    with pytest.raises(UsageError, match="did you mean bert-base"):
        find_model("bert-bse")
