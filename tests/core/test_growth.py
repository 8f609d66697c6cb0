"""Growth laws of synthetic costs, whose laws are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from attnprof.core.growth.empirical import find_padding_multiple, fit_growth
from attnprof.core.growth.laws import name_law
from attnprof.core.growth.polynomial import doubling_exponent, solve_growth

coefficients = st.tuples(*[st.integers(-50, 50)] * 2, st.integers(0, 50))
positive = st.integers(1, 5000)


@given(coefficients, st.lists(st.integers(1, 10_000), min_size=4, max_size=4, unique=True))
def test_growth_finds_the_polynomial(terms: tuple[int, int, int], lengths: list[int]) -> None:
    c0, c1, c2 = terms
    growth = solve_growth(lambda n: c0 + c1 * n + c2 * n * n, lengths)
    assert (growth.c0, growth.c1, growth.c2, growth.residual) == (c0, c1, c2, 0)


def test_growth_of_another_law_leaves_a_residual() -> None:
    assert solve_growth(lambda n: n**3, (1, 2, 3, 4)).residual == Fraction(6)


def test_growth_names_the_law_and_the_share_of_each_term() -> None:
    growth = solve_growth(lambda n: 100 * n + n * n, (1, 2, 3, 4))
    assert growth.law == "n²"
    assert growth.shares(300) == {"n²": Fraction(3, 4), "n": Fraction(1, 4)}
    assert growth.quadratic_dominates_from == 101
    linear = solve_growth(lambda n: 3 * n - 7, (1, 2, 3, 4))
    assert (linear.law, linear.quadratic_dominates_from) == ("n", None)
    assert linear.shares(7) == {"n": Fraction(3, 2), "constant": Fraction(-1, 2)}
    assert solve_growth(lambda n: 7, (1, 2, 3, 4)).law == "constant"
    assert solve_growth(lambda n: n * n, (1, 2, 3, 4)).quadratic_dominates_from is None


@given(coefficients, positive)
def test_shares_add_up_to_one(terms: tuple[int, int, int], n: int) -> None:
    c0, c1, c2 = terms
    growth = solve_growth(lambda n: c0 + c1 * n + c2 * n * n, (1, 2, 3, 4))
    assume(growth.at(n) != 0)
    assert sum(growth.shares(n).values()) == 1
    assert len(growth.shares(n)) == sum(term != 0 for term in terms)


def test_growth_needs_four_lengths() -> None:
    with pytest.raises(ValueError, match="four different lengths"):
        solve_growth(lambda n: n, (1, 2, 2, 3))


def test_doubling_exponent() -> None:
    assert doubling_exponent((10, 5), (20, 20)) == pytest.approx(2)


LAWS: dict[str, Callable[[int], float]] = {
    "n·log n": lambda n: n * math.log2(n),
    "n·log² n": lambda n: n * math.log2(n) ** 2,
    "n·sqrt n": lambda n: n * math.isqrt(n * 2**40) / 2**20,
    "n²": lambda n: n * n,
    "n²·log n": lambda n: n * n * math.log2(n),
    "n²·sqrt n": lambda n: n * n * math.isqrt(n * 2**40) / 2**20,
    "n³": lambda n: n**3,
}


def doublings(cost: Callable[[int], int], unit: int) -> list[tuple[int, int]]:
    lengths = [unit << k for k in range(30) if unit << k <= 2**22]
    return [(n, cost(n)) for n in lengths]


@pytest.mark.parametrize("name", LAWS)
@given(weight=positive, per_token=st.integers(0, 10**7), unit=st.integers(8, 3000))
def test_laws_are_named_whatever_the_linear_cost_of_projections(
    name: str, weight: int, per_token: int, unit: int
) -> None:
    law = name_law(
        doublings(lambda n: round(Fraction(weight * LAWS[name](n))) + per_token * n, unit)
    )
    assert law.name == name
    assert law.longer == 2 * law.shorter


@given(
    power=st.floats(1.08, 2.92),
    weight=positive,
    per_token=st.integers(0, 10**4),
    unit=st.integers(8, 3000),
)
def test_other_powers_have_an_exponent_and_no_name(
    power: float, weight: int, per_token: int, unit: int
) -> None:
    assume(all(abs(power - known) > 0.05 for known in (1.5, 2, 2.5)))
    law = name_law(doublings(lambda n: round(1000 * weight * n**power) + per_token * n, unit))
    assert law.name == ""
    assert law.is_settled
    assert law.exponent == pytest.approx(power, abs=0.01)


@given(
    small=st.sampled_from(sorted(LAWS)),
    large=st.sampled_from(sorted(LAWS)),
    weights=st.tuples(positive, positive),
    unit=st.integers(8, 3000),
)
def test_the_sum_of_two_laws_is_not_named_as_a_third(
    small: str, large: str, weights: tuple[int, int], unit: int
) -> None:
    def cost(n: int) -> int:
        return round(weights[0] * LAWS[small](n) + weights[1] * LAWS[large](n))

    assert name_law(doublings(cost, unit)).name in {small, large, ""}


@given(block=st.integers(2, 500), unit=st.integers(8, 3000), per_token=st.integers(1, 100))
def test_a_linear_cost_with_ripples_of_tiles_is_linear(
    block: int, unit: int, per_token: int
) -> None:
    def cost(n: int) -> int:
        return per_token * n + block * (n // block * block) + (n % block) ** 2

    assert name_law(doublings(cost, unit)).name == "n"


@given(unit=st.integers(8, 3000), width=positive, per_token=st.integers(0, 10**5))
def test_blocks_of_about_sqrt_n_tokens_are_n_sqrt_n(unit: int, width: int, per_token: int) -> None:
    def cost(n: int) -> int:
        block = round(math.sqrt(n))
        padded = -(-n // block) * block
        return 2 * width * padded * block + per_token * n

    # If projections are nearly all of the cost, rounding hides the rest: then no law is named.
    name = name_law(doublings(cost, unit)).name
    assert name == "n·sqrt n" if per_token <= 100 * width else name in {"n·sqrt n", ""}


def test_a_cost_with_a_step_at_every_second_doubling_is_named_over_fourfolds() -> None:
    def radix_four(n: int) -> int:
        return 12 * n * -(-(n - 1).bit_length() // 2)

    assert name_law(doublings(radix_four, 16)).name == "n·log n"


def test_too_few_points_give_an_exponent_without_a_name() -> None:
    law = name_law([(100, 10**4), (200, 4 * 10**4)])
    assert (law.name, law.exponent, law.shorter, law.longer) == ("", pytest.approx(2), 100, 200)


class Counted:
    """A cost that records its lengths, and is None at lengths that do not run."""

    def __init__(self, cost: Callable[[int], int], runs: Callable[[int], bool] = bool) -> None:
        self.cost, self.runs = cost, runs
        self.lengths: set[int] = set()

    def __call__(self, n: int) -> int | None:
        self.lengths.add(n)
        return self.cost(n) if self.runs(n) else None


user_lengths = st.lists(st.integers(32, 9000), min_size=1, max_size=4, unique=True).map(sorted)


@given(coefficients, user_lengths, st.integers(2, 2000), st.integers(0, 300))
def test_padding_is_found_with_the_polynomial(
    terms: tuple[int, int, int], lengths: list[int], step: int, not_padded: int
) -> None:
    c0, c1, c2 = terms
    assume(c2 or c1 > 0)

    def cost(n: int) -> int:
        padded = -(-n // step) * step
        return c0 + 60 * abs(c1) * padded + c2 * padded * padded + not_padded * n

    count = Counted(cost)
    fitted = fit_growth(count, lengths)
    assert fitted is not None
    assert fitted.growth is not None
    assert (fitted.step, fitted.unpadded_slope, fitted.multiple) == (step, not_padded, 1)
    assert (fitted.growth.c0, fitted.growth.c2) == (c0, c2)
    assert fitted.growth.c1 == 60 * abs(c1) + not_padded
    assert all(fitted.cost(n) == cost(n) for n in range(1, 50))
    assert len(count.lengths) < 130


@given(coefficients, user_lengths)
def test_without_padding_no_step_is_found(terms: tuple[int, int, int], lengths: list[int]) -> None:
    c0, c1, c2 = terms
    fitted = fit_growth(Counted(lambda n: c0 + c1 * n + c2 * n * n), lengths)
    assert fitted is not None
    assert fitted.growth is not None
    assert (fitted.growth.c0, fitted.growth.c1, fitted.growth.c2) == terms
    assert (fitted.step, fitted.multiple, fitted.law) == (1, 1, None)


@given(block=st.integers(2, 300), blocks=st.lists(st.integers(1, 50), min_size=1, max_size=3))
def test_a_cost_that_runs_at_multiples_of_a_block_only_is_solved_there(
    block: int, blocks: list[int]
) -> None:
    count = Counted(lambda n: 7 * n * n + n, lambda n: n % block == 0)
    lengths = sorted({block * number for number in blocks})
    fitted = fit_growth(count, lengths)
    assert fitted is not None
    assert fitted.growth is not None
    assert (fitted.growth.c1, fitted.growth.c2) == (1, 7)
    assert fitted.multiple % block == 0
    assert fitted.step == 1


@pytest.mark.parametrize("lengths", [[128], [128, 512], [100, 500], [512]])
def test_a_maximum_length_ends_the_search(lengths: list[int]) -> None:
    count = Counted(lambda n: n * n, lambda n: n <= 512)
    fitted = fit_growth(count, lengths)
    assert fitted is not None
    assert fitted.growth is not None
    assert fitted.growth.law == "n²"


def test_a_window_that_ends_the_polynomial_gives_a_law_beyond_it() -> None:
    fitted = fit_growth(lambda n: n * min(n, 4096) + n, [512, 4096])
    assert fitted is not None
    assert fitted.growth is not None
    assert fitted.law is not None
    assert (fitted.growth.law, fitted.law.name, fitted.longest) == ("n²", "n", 4096)
    assert not fitted.is_known_everywhere


def test_two_lengths_that_run_give_an_exponent() -> None:
    fitted = fit_growth(lambda n: n * n if n in (100, 700) else None, [100, 700])
    assert fitted is not None
    assert fitted.law is not None
    assert fitted.law.exponent == pytest.approx(2)
    assert fit_growth(lambda n: n * n if n == 100 else None, [100]) is None


@given(st.integers(1, 10**5), st.sampled_from(sorted(LAWS)))
def test_smooth_laws_have_no_padding(start: int, name: str) -> None:
    assume(name != "n·log n" or start > 100)
    step, _ = find_padding_multiple(lambda n: round(10**6 * LAWS[name](n)), start)
    assert step == 1
