"""Progress without a terminal: a line on stderr now and then, so that a log shows activity."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attnprof.measure import Observer

EVERY_SECONDS = 30.0


@contextmanager
def heartbeat(
    wait: Callable[[float], bool] | None = None, clock: Callable[[], float] = time.monotonic
) -> Generator[Observer]:
    """An observer whose latest activity is written every 30 seconds.

    Args:
        wait: waits up to a number of seconds and returns whether the work is done; None to wait
            for the end of the context.
        clock: seconds, from any origin.
    """
    start, done = clock(), threading.Event()
    last = ["starting", 0.0]

    def observe(activity: str, part: float) -> None:
        last[:] = [activity, part]

    def beat() -> None:
        while not (wait or done.wait)(EVERY_SECONDS):
            activity, part = last
            seconds = round(clock() - start)
            sys.stderr.write(
                f"attnprof: {activity} ({100 * part:.0f} % done, {seconds} s so far)\n"
            )

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield observe
    finally:
        done.set()
        thread.join()
