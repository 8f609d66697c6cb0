"""Error classes with their exit codes, and exceptions as one-line messages."""

from __future__ import annotations

import difflib
import signal
import sys
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager, redirect_stdout
from typing import Literal

_SYNONYMS = {
    "gpu": "cuda", "double": "float64", "float": "float32", "half": "float16",
    "fp64": "float64", "fp32": "float32", "fp16": "float16", "bf16": "bfloat16",
    "eval": "inference", "train": "training",
}  # fmt: skip
"""Common spellings and the names they mean; similarity of letters alone would suggest others."""

_OUT_OF_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "Cannot allocate memory",
    "bad_alloc",
)


class AttnprofError(Exception):
    """An error that is reported in one line and ends the command with `exit_code`."""

    exit_code = 3


class UsageError(AttnprofError, ValueError):
    """An invalid value of an argument or option.

    Attributes:
        argument: its Python name, such as `window` or `hidden_size`.
        value: what was passed; empty for a flag, which has no value.
        expected: what would be valid.
    """

    exit_code = 2

    def __init__(self, argument: str, value: object, expected: str) -> None:
        self.argument = argument
        self.value = value
        self.expected = expected
        super().__init__(f"{argument} {value}".rstrip() + f": {expected}")

    def __reduce__(self) -> tuple[type[UsageError], tuple[str, object, str]]:
        """Pickles the error, with its value as text: the value itself may not be picklable."""
        return UsageError, (self.argument, str(self.value), self.expected)


class MeasurementError(AttnprofError):
    """A count, a time or a memory peak could not be measured; the message is the reason."""

    exit_code = 3


class NotSavedError(MeasurementError):
    """An output file could not be written after the results were available.

    Attributes:
        result: the results, which can still be printed.
    """

    def __init__(self, message: str, result: object) -> None:
        self.result = result
        super().__init__(message)


class UncountedError(MeasurementError):
    """A count is incomplete: some operators have no MAC formula."""


class FailedError(AttnprofError):
    """Code that was measured failed; the message says how.

    Attributes:
        status: `oom`, `timeout`, `wrong` or `error`.
    """

    exit_code = 3

    def __init__(self, message: str, status: Literal["oom", "timeout", "wrong", "error"]) -> None:
        self.status: Literal["oom", "timeout", "wrong", "error"] = status
        super().__init__(message)

    def __reduce__(self) -> tuple[type[FailedError], tuple[str, str]]:
        """Pickles the error with its status."""
        return FailedError, (str(self), self.status)


class Interrupted(KeyboardInterrupt):
    """A signal ends the command.

    A class of its own, to distinguish it from a `KeyboardInterrupt` that code under test raises.
    """


def ends_the_command(error: BaseException) -> bool:
    """Whether an exception comes from a signal to the command, not from code under test."""
    if isinstance(error, Interrupted):
        return True
    # Outside the command line, Python's own handler raises a plain KeyboardInterrupt.
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, KeyboardInterrupt) and is_default


@contextmanager
def code_under_test() -> Generator[None]:
    """Run code under test: its stdout goes to stderr, and `sys.exit` counts as its failure.

    Raises:
        FailedError: in place of an exception that is not an `Exception`, such as `SystemExit`.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except BaseException as error:
        keep_inside(error)
        raise


def keep_inside(error: BaseException) -> None:
    """Turn an exception that would end this process into a failure of the code that raised it.

    Raises:
        FailedError: if it is not an `Exception`, such as `SystemExit`, and not from a signal to
            the command.
    """
    if not (isinstance(error, Exception) or ends_the_command(error)):
        raise FailedError(describe_error(error), "error") from error


def describe_error(error: BaseException) -> str:
    """An exception in one line; its type is left out for `MeasurementError` and `FailedError`."""
    # torch appends a C++ stack trace.
    message = " ".join(str(error).partition("Exception raised from")[0].split())
    if isinstance(error, MeasurementError | FailedError):
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; torch's CPU allocator and oneDNN raise a RuntimeError then."""
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in text for words in _OUT_OF_MEMORY)
    )


def suggest(name: str, choices: Iterable[str]) -> str:
    """A hint for an unknown name: `did you mean cuda?`, or all choices if none is similar."""
    known = sorted(choices)
    close = suggest_or_none(name, known)
    return f"did you mean {close}?" if close else f"choose from {', '.join(known)}"


def suggest_or_none(name: str, choices: Collection[str]) -> str | None:
    """The choice that a name probably means; None if none is similar."""
    synonym = _SYNONYMS.get(name.lower())
    if synonym is not None and synonym in choices:
        return synonym
    return next(iter(difflib.get_close_matches(name, choices, n=1)), None)
