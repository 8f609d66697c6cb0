"""What can go wrong, in the words of the person who asked, with the exit code of each kind."""

from __future__ import annotations

import difflib
import signal
import sys
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager, redirect_stdout
from typing import Literal

_OTHER_WORDS = {
    "gpu": "cuda", "double": "float64", "float": "float32", "half": "float16",
    "fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16",
    "eval": "inference", "train": "training",
}  # fmt: skip
"""What people type, by the name that is meant; letters alone would lead elsewhere."""

_OUT_OF_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "Cannot allocate memory",
    "bad_alloc",
)


class AttnprofError(Exception):
    """An error that is told in one line and ends the command with `exit_code`."""

    exit_code = 3


class UsageError(AttnprofError, ValueError):
    """A value that cannot be used; `argument` is its Python name, as `window` or `hidden_size`."""

    exit_code = 2

    def __init__(self, argument: str, value: object, expected: str) -> None:
        self.argument = argument
        self.value = value
        self.expected = expected
        super().__init__(f"{argument} {value}: {expected}")

    def __reduce__(self) -> tuple[type[UsageError], tuple[str, object, str]]:
        """Crosses from one process to another; its value as text, whatever it was."""
        return UsageError, (self.argument, str(self.value), self.expected)


class MeasurementError(AttnprofError):
    """A count, a time or a memory peak that could not be taken; the message is the reason."""

    exit_code = 3


class NotSavedError(MeasurementError):
    """A file that could no longer be written once there were results.

    Attributes:
        result: what was to be written; it can still be shown.
    """

    def __init__(self, message: str, result: object) -> None:
        self.result = result
        super().__init__(message)


class UncountedError(MeasurementError):
    """A count with holes: some operators have no formula."""


class FailedError(AttnprofError):
    """What was run in a process of its own failed; the message says how.

    Attributes:
        status: `oom`, `timeout`, `error` or `error`.
    """

    exit_code = 3

    def __init__(self, message: str, status: Literal["oom", "timeout", "wrong", "error"]) -> None:
        self.status: Literal["oom", "timeout", "wrong", "error"] = status
        super().__init__(message)

    def __reduce__(self) -> tuple[type[FailedError], tuple[str, str]]:
        """Crosses from one process to another."""
        return FailedError, (str(self), self.status)


class Interrupted(KeyboardInterrupt):
    """A signal ends the command; what code under test raises by itself is no such thing."""


def ends_the_command(error: BaseException) -> bool:
    """Whether an exception is the person's at the keyboard, and not that of code under test."""
    if isinstance(error, Interrupted):
        return True
    # Without a command around it, Python's own handler raises the plain exception.
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, KeyboardInterrupt) and is_default


@contextmanager
def code_under_test() -> Generator[None]:
    """What it prints goes to stderr; what leaves the process, such as `sys.exit`, is its failure.

    Raises:
        FailedError: in place of any exception that is none of `Exception`.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except BaseException as error:
        keep_inside(error)
        raise


def keep_inside(error: BaseException) -> None:
    """Have an exception that would leave the process fail the code that raised it.

    Raises:
        FailedError: in its place, where it is none of `Exception` and nobody's at the keyboard.
    """
    if not (isinstance(error, Exception) or ends_the_command(error)):
        raise FailedError(describe_error(error), "error") from error


def describe_error(error: BaseException) -> str:
    """One line: the message of attnprof's own errors, which say it all, else its type too."""
    # What torch appends of its own stack tells nobody anything.
    message = " ".join(str(error).partition("Exception raised from")[0].split())
    if isinstance(error, MeasurementError | FailedError):
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: torch's CPU allocator and oneDNN raise plain RuntimeErrors."""
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in text for words in _OUT_OF_MEMORY)
    )


def suggest(name: str, choices: Iterable[str]) -> str:
    """Words for an unknown name: what is near it, or else all there is."""
    known = sorted(choices)
    close = suggest_or_none(name, known)
    return f"did you mean {close}?" if close else f"choose from {', '.join(known)}"


def suggest_or_none(name: str, choices: Collection[str]) -> str | None:
    """The choice that a name is likely to mean; None where none is near."""
    other = _OTHER_WORDS.get(name.lower())
    if other is not None and other in choices:
        return other
    return next(iter(difflib.get_close_matches(name, choices, n=1)), None)
