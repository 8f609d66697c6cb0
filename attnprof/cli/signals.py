"""Ctrl-C, SIGTERM and a closed terminal end a command cleanly."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from attnprof.core.errors import Interrupted

_WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "terminal closed"}
_SIGNAL_BASE = 128
"""Shells report a process that a signal ended with this plus the signal's number."""


@dataclass(slots=True)
class Shutdown:
    """How a command ends.

    Attributes:
        exit_code: 0 unless a signal or an error sets it.
        word: description of the signal that ends it; empty without one.
    """

    exit_code: int = 0
    word: str = ""


@contextmanager
def graceful_shutdown() -> Generator[Shutdown]:
    """Turn the first signal that would end the process into `Interrupted`; ignore further ones."""
    shutdown = Shutdown()

    def end(number: int, frame: object) -> None:
        if shutdown.word:  # it is already ending and saving its results
            return
        shutdown.word = _WORDS[signal.Signals(number).name]
        shutdown.exit_code = _SIGNAL_BASE + number
        raise Interrupted

    if threading.current_thread() is not threading.main_thread():
        yield shutdown
        return
    names = [name for name in _WORDS if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), end) for name in names}
    try:
        yield shutdown
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
