"""`attnprof.assert_growth`: a law of growth as an assertion in any test."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack, cast

from attnprof.core.errors import MeasurementError, UncountedError, UsageError
from attnprof.core.growth.laws import LAW_FORMS, GrowthLaw, parse_law
from attnprof.core.units import parse_lengths
from attnprof.guard.cases import case_of
from attnprof.guard.changes import Comparison
from attnprof.guard.contract import GROWING, Contract, ContractOptions, Quantity
from attnprof.guard.evaluate import growth_breaches, unknown_growth
from attnprof.guard.measurement import measure_contract
from attnprof.guard.reports.text import render_breaches
from attnprof.guard.results import Result
from attnprof.kernels import custom
from attnprof.options import reject_unknown_options


def assert_growth(
    target: object,
    lens: int | str | Iterable[int | str],
    *,
    macs: str | None = None,
    peak_bytes: str | None = None,
    **options: Unpack[ContractOptions],
) -> None:
    """Assert that costs grow with the length no faster than laws say.

    Counted on fake tensors, in this process, with no clock: the same on every machine. Lengths up
    to a million are looked at, where they run.

    Args:
        target: a module, a class of modules, a function that makes one (called with the length
            where it takes one argument of another name than a size), an attention function, or
            text as for `--kernel`: a kernel's name, `pkg.mod:Net`, a config.
        lens: in tokens; `1024`, `"4k"`, `"512:8192:x2"` or several of them.
        macs: the fastest law that MACs may follow: `constant`, `linear`, `n log n`, `quadratic`, or
            a power such as `n^1.5`.
        peak_bytes: that of the most bytes that a call takes at one time.
        options: as for the command line: `input="x=batch,len,64"`, `window`, `dtype` and so on.

    Raises:
        AssertionError: when a cost grows faster; says how, and which modules do.
        UsageError: for arguments that cannot be used.
        MeasurementError: when it cannot be run at one of the lengths, or no law can be told.
        UncountedError: when MACs are asked for and an operator has no formula.
    """
    __tracebackhide__ = True  # pytest then shows where the assertion stands
    reject_unknown_options(options, ContractOptions)
    asked = dict(zip(GROWING, (macs, peak_bytes), strict=True))
    growth: dict[Quantity, GrowthLaw] = {
        quantity: _law(quantity, text) for quantity, text in asked.items() if text is not None
    }
    if not growth:
        raise UsageError("macs", "(nothing)", "name a law for macs, for peak_bytes, or for both")
    lengths = _lengths(lens)
    given = dict(cast("dict[str, Any]", options))
    with _named(target, given) as name:
        measured = measure_contract(case_of(name, lengths[0], given), lengths)
    contract = Contract(name=name, file=Path(), line=0, target=name, lengths=lengths, growth=growth)
    problem = measured.problem or unknown_growth(contract, measured)
    if problem:
        raise MeasurementError(problem)
    if "macs" in growth and measured.uncounted:
        from attnprof.counting.operator_counts import describe_uncounted

        raise UncountedError(describe_uncounted(measured.uncounted))
    if "peak_bytes" in growth and measured.growth["peak_bytes"].law is None:
        names = ", ".join(sorted(measured.uncounted))
        raise MeasurementError(f"no law can be told of what {names} allocates inside")
    versus = Comparison(None, measured)
    breaches = [
        breach for quantity in growth for breach in growth_breaches(contract, quantity, versus, "")
    ]
    if breaches:
        shown = name.partition("(")[0].removeprefix("given:")
        raise AssertionError(render_breaches(Result(shown, "", 0, tuple(breaches))))


@contextmanager
def _named(target: object, options: dict[str, Any]) -> Generator[str]:
    """The name that kernels are found by; an object's takes in what is said of its inputs."""
    if isinstance(target, str):
        yield target
        return
    described = options.pop("input", None)
    words = [described] if isinstance(described, str) else list(described or ())
    try:
        with custom.registered_object(target, words) as name:
            yield name
    except UsageError as error:
        if error.argument == "kernel":
            raise UsageError("target", error.value, error.expected) from error
        raise


def _law(quantity: Quantity, text: str) -> GrowthLaw:
    try:
        return parse_law(text)
    except ValueError:
        raise UsageError(quantity, text, LAW_FORMS) from None


def _lengths(lens: int | str | Iterable[int | str]) -> tuple[int, ...]:
    words = [lens] if isinstance(lens, int | str) else list(lens)
    lengths = {n for word in words for n in parse_lengths(str(word))}
    if not lengths:
        raise UsageError("lens", "(nothing)", "needs one length or more")
    return tuple(sorted(lengths))
