"""Ctrl-C, a terminated process and a closed terminal end a command in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from attnprof.core.errors import Interrupted

_WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "its terminal was closed"}
_SIGNAL_BASE = 128
"""What shells add to a signal's number for the exit code of whatever it ended."""


@dataclass(slots=True)
class Shutdown:
    """How a command ends.

    Attributes:
        exit_code: 0 as long as nothing else is known.
        word: for a signal that ends it.
    """

    exit_code: int = 0
    word: str = ""


@contextmanager
def graceful_shutdown() -> Generator[Shutdown]:
    """A signal that would end the process raises `Interrupted` once; others do no more."""
    ending = Shutdown()

    def end(number: int, frame: object) -> None:
        if ending.word:  # it is ending already, and saves what it has
            return
        ending.word = _WORDS[signal.Signals(number).name]
        ending.exit_code = _SIGNAL_BASE + number
        raise Interrupted

    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    names = [name for name in _WORDS if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), end) for name in names}
    try:
        yield ending
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
