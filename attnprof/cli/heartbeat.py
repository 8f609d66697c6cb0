"""Progress where there is no terminal: a line on stderr now and then, so that a log shows life."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

EVERY_SECONDS = 30.0
Observer = Callable[[str, float], None]


@contextmanager
def heartbeat(
    wait: Callable[[float], bool] | None = None, clock: Callable[[], float] = time.monotonic
) -> Generator[Observer]:
    """An observer whose last word is written every half a minute.

    Args:
        wait: waits so many seconds, and tells whether the work is done; until it is, if None.
        clock: seconds, of any beginning.
    """
    begun, done = clock(), threading.Event()
    last = ["starting", 0.0]

    def observe(activity: str, part: float) -> None:
        last[:] = [activity, part]

    def beat() -> None:
        while not (wait or done.wait)(EVERY_SECONDS):
            activity, part = last
            seconds = round(clock() - begun)
            sys.stderr.write(f"attnprof: {activity} ({part:.0%} done, {seconds} s so far)\n")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield observe
    finally:
        done.set()
        thread.join()
