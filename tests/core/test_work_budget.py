"""The length up to which a cost is counted does not depend on the speed of the machine."""

from __future__ import annotations

import pytest

from attnprof.core.growth.work_budget import expected_work, loops_in_python


def test_work_is_extrapolated_by_its_growth_over_a_doubling() -> None:
    quadratic = {n: n**2 for n in (10, 20, 39, 40)}
    assert expected_work(quadratic, 80) == pytest.approx(6400)
    assert expected_work(quadratic, 25) == pytest.approx(625)
    assert expected_work({10: 7}, 30) == 21
    assert expected_work({}, 30) == 0
    assert expected_work({10: 8, 20: 4}, 40) == 4


def test_growth_is_not_extrapolated_from_neighbouring_lengths() -> None:
    # One block more at 65 tokens than at 64 would look like n^45.
    assert expected_work({32: 1, 63: 1, 64: 1, 65: 2}, 128) == pytest.approx(
        2 * 2 ** (65 / 64), 0.1
    )


@pytest.mark.parametrize("speed", [0.1, 1, 10])
def test_a_python_loop_ends_at_the_same_length_on_every_machine(speed: float) -> None:
    operators = dict.fromkeys((64, 512, 4096), 5)
    seconds = {n: speed * (5e-3 + 1e-6 * n**2) for n in operators}
    assert loops_in_python(operators, seconds, 65536)
    assert not loops_in_python(operators, seconds, 512)


def test_many_operators_are_not_a_loop_in_python() -> None:
    operators = {n: n for n in (64, 512, 4096)}
    seconds = {n: 1e-3 * n for n in operators}
    assert not loops_in_python(operators, seconds, 10**6)
