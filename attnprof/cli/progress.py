"""Progress on stderr: a bar on a terminal, elsewhere a line now and then for a log."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from attnprof.measure import Observer

EVERY_SECONDS = 30.0
"""Between two lines where stderr is no terminal."""

_BAR_AFTER_SECONDS = 0.4  # a command that ends sooner, or refuses its options, draws no bar
_REFRESHES_A_SECOND = 2  # drawing competes with the measurement for a core
_BAR_WIDTH = 10
_MOST_PERCENT = 99
_LONG_SECONDS = 90
_STEP_SECONDS = 5

Clock = Callable[[], float]


@dataclass(slots=True)
class Tracker:
    """What runs now, how much is done, and how long the rest will take.

    Attributes:
        clock: seconds, from any origin.
        start: when the command began.
        activity: what runs now.
        part: fraction of all work done, 0 to 1; never less than before.
        work_start: when the work began of which `part` is a fraction.
        end: when all of it will be done, as far as is known; None if that is unknown.
    """

    clock: Clock
    start: float
    activity: str
    part: float = 0.0
    work_start: float = 0.0
    end: float | None = None

    def observe(self, activity: str, part: float) -> None:
        """Take note of what runs now, and of the fraction of all work done."""
        now = self.clock()
        if part <= 0:
            self.work_start = now
        else:
            self.end = now + (now - self.work_start) * (1 - part) / part
        self.activity, self.part = activity, max(self.part, part)

    @property
    def percent(self) -> int:
        """Percent done, rounded down; never 100, as the work ends only when the display does."""
        return min(_MOST_PERCENT, math.floor(100 * self.part))

    @property
    def elapsed_seconds(self) -> int:
        """Whole seconds since the command began."""
        return math.floor(self.clock() - self.start)

    @property
    def left(self) -> str:
        """About how long the rest will take; empty where that is unknown or already over."""
        seconds = 0.0 if self.end is None else self.end - self.clock()
        if seconds <= 0:
            return ""
        if seconds > _LONG_SECONDS:
            return f"about {round(seconds / 60)} min left"
        return f"about {_STEP_SECONDS * math.ceil(seconds / _STEP_SECONDS)} s left"


@contextmanager
def progress(activity: str = "starting") -> Generator[Observer]:
    """An observer that draws a bar on a terminal, and otherwise writes a line now and then.

    Args:
        activity: what runs before anything is observed.
    """
    tracker = Tracker(time.monotonic, time.monotonic(), activity)
    with _bar(tracker) if sys.stderr.isatty() else heartbeat(tracker):
        yield tracker.observe


@contextmanager
def heartbeat(tracker: Tracker, wait: Callable[[float], bool] | None = None) -> Generator[None]:
    """Write the state to stderr every 30 seconds.

    Args:
        tracker: has the state.
        wait: waits up to a number of seconds and returns whether the work is done; None to wait
            for the end of the context.
    """
    done = threading.Event()

    def beat() -> None:
        while not (wait or done.wait)(EVERY_SECONDS):
            facts = [
                f"{tracker.percent} % done",
                f"{tracker.elapsed_seconds} s so far",
                tracker.left,
            ]
            state = ", ".join(filter(None, facts))
            sys.stderr.write(f"attnprof: {tracker.activity} ({state})\n")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def _bar(tracker: Tracker) -> Generator[None]:
    """Draw the state as one line, which is gone at the end."""
    # A separate descriptor: stderr is redirected while peak memory is measured.
    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as stream:
        drawn: list[AbstractContextManager[object]] = []

        def draw() -> None:
            from rich.console import Console
            from rich.live import Live

            live = Live(
                get_renderable=lambda: _line(tracker),
                console=Console(file=stream),
                refresh_per_second=_REFRESHES_A_SECOND,
                transient=True,
                redirect_stdout=False,
            )
            live.__enter__()
            drawn.append(live)

        timer = threading.Timer(_BAR_AFTER_SECONDS, draw)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            for live in drawn:
                live.__exit__(None, None, None)


def _line(tracker: Tracker) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    minutes, seconds = divmod(tracker.elapsed_seconds, 60)
    line = Table.grid(padding=(0, 1))
    cells = [f"{tracker.percent:2} %", f"{minutes}:{seconds:02}", tracker.left, tracker.activity]
    line.add_row(
        ProgressBar(total=1.0, completed=tracker.part, width=_BAR_WIDTH),
        *(Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells if cell),
    )
    return line
