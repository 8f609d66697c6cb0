"""How long a comparison is expected to take, while it runs."""

from __future__ import annotations

import pytest

from attnprof import AttentionPattern, Workload
from attnprof.core.workload import Case
from attnprof.measure.time_plan import FIRST_CASE_SECONDS, TimePlan

KERNELS = ("bert-sdpa", "bert-eager")
LENGTHS = (512, 2048)
BUDGET = 10.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def cases(seq_len: int) -> list[Case]:
    workload = Workload(AttentionPattern.dense(), seq_len)
    return [Case(kernel, workload) for kernel in KERNELS]


@pytest.fixture
def plan(clock: Clock) -> TimePlan:
    return TimePlan([cases(seq_len) for seq_len in LENGTHS], BUDGET, clock)


def run_alone(plan: TimePlan, clock: Clock, seq_len: int, seconds: float) -> None:
    for case in cases(seq_len):
        plan.begin_alone(case)
        clock.now += seconds
        plan.end_alone()


def test_before_anything_ran_the_budgets_and_a_guess_count(plan: TimePlan) -> None:
    assert plan.left_seconds == 4 * FIRST_CASE_SECONDS + 2 * BUDGET
    assert plan.done == 0


def test_longer_lengths_take_longer_than_the_same_kernel_before(
    plan: TimePlan, clock: Clock
) -> None:
    plan.begin_group(cases(512))
    run_alone(plan, clock, 512, 3.0)
    assert plan.left_seconds == 2 * 3.0 * 2048 / 512 + 2 * BUDGET
    assert plan.done == pytest.approx(6 / (6 + plan.left_seconds))


def test_rounds_tell_how_long_the_next_ones_take(plan: TimePlan, clock: Clock) -> None:
    plan.begin_group(cases(512))
    run_alone(plan, clock, 512, 1.0)
    plan.begin_rounds()
    clock.now += 3
    plan.in_rounds(0.75)
    alone = 2 * 1.0 * 2048 / 512
    assert plan.left_seconds == pytest.approx(1.0 + alone + BUDGET)
    clock.now += 1
    plan.end_group()
    assert plan.left_seconds == pytest.approx(alone + 4)


def test_cases_that_do_not_run_take_no_time(plan: TimePlan, clock: Clock) -> None:
    plan.begin_group([])
    plan.end_group()
    plan.begin_group(cases(2048)[:1])
    assert plan.left_seconds == FIRST_CASE_SECONDS + BUDGET
    run_alone_case = cases(2048)[0]
    plan.begin_alone(run_alone_case)
    clock.now += 100 * FIRST_CASE_SECONDS  # far longer than expected
    assert plan.left_seconds == BUDGET


def test_what_is_done_never_falls_and_is_never_all(plan: TimePlan, clock: Clock) -> None:
    done = [plan.done]
    for seq_len in LENGTHS:
        plan.begin_group(cases(seq_len))
        for case in cases(seq_len):
            plan.begin_alone(case)
            for _ in range(3):
                clock.now += 7
                done.append(plan.done)
            plan.end_alone()
        plan.begin_rounds()
        for part in (0.1, 0.5, 1.0):
            clock.now += 5
            plan.in_rounds(part)
            done.append(plan.done)
        plan.end_group()
        done.append(plan.done)
    assert done == sorted(done)
    assert 0.9 < done[-1] < 1
