"""The progress display: what runs, how much is done, and how long the rest takes."""

from __future__ import annotations

import pytest

from attnprof.cli.progress import EVERY_SECONDS, Tracker, heartbeat


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tracker(clock: Clock) -> Tracker:
    return Tracker(clock, clock.now, "starting")


def test_nothing_is_ever_said_to_be_complete(tracker: Tracker) -> None:
    for part in (0.0, 0.333, 0.999, 1.0):
        tracker.observe("working", part)
        assert tracker.percent == min(99, int(100 * part))


def test_the_part_done_never_falls(tracker: Tracker) -> None:
    tracker.observe("working", 0.5)
    tracker.observe("more to do than expected", 0.25)
    assert tracker.percent == 50
    assert tracker.activity == "more to do than expected"


def test_what_is_left_follows_from_the_work_so_far_and_counts_down(
    tracker: Tracker, clock: Clock
) -> None:
    clock.now += 20  # importing torch is no part of the work
    tracker.observe("importing torch", 0.0)
    assert tracker.left == ""
    clock.now += 30
    tracker.observe("working", 0.25)
    assert (tracker.elapsed_seconds, tracker.left) == (50, "about 90 s left")
    clock.now += 73
    assert tracker.left == "about 20 s left"
    clock.now += 17
    assert tracker.left == ""  # it takes longer than expected
    tracker.observe("working", 0.3)
    assert tracker.left == "about 5 min left"


def test_without_a_terminal_a_line_is_written_every_half_minute(
    tracker: Tracker, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        clock.now += seconds
        waited.append(seconds)
        if len(waited) == 2:
            tracker.observe("bert-sdpa at 512: measuring memory", 0.5)
        return len(waited) == 3

    with heartbeat(tracker, wait):
        pass
    assert waited == [EVERY_SECONDS] * 3
    assert capsys.readouterr().err.splitlines() == [
        "attnprof: starting (0 % done, 30 s so far)",
        "attnprof: bert-sdpa at 512: measuring memory (50 % done, 60 s so far, about 3 min left)",
    ]
