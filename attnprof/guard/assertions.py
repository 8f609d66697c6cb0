"""`attnprof.assert_growth`: asserts in any test how fast costs may grow with length."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack, cast

from attnprof.core.errors import MeasurementError, UncountedError, UsageError
from attnprof.core.growth.laws import LAW_FORMS, GrowthLaw, parse_law
from attnprof.core.lengths import parse_lengths
from attnprof.guard.cases import case_of
from attnprof.guard.changes import Comparison
from attnprof.guard.contract import GROWING, Contract, ContractOptions, Quantity
from attnprof.guard.evaluate import growth_breaches, unknown_growth
from attnprof.guard.measurement import ContractCosts, measure_contract
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
    """Assert that costs grow with length no faster than the given laws.

    Costs are counted on fake tensors in this process and nothing is timed, so the result is the
    same on every machine. Growth is checked at lengths up to about a million tokens, as far as the
    target runs at them.

    Args:
        target: a module, a class of modules, a function that returns a module (called with the
            sequence length if it takes one argument that is not named like a size), an attention
            function, or a string as for `--kernel`: a kernel's name, `pkg.mod:Net` or a config.
        lens: sequence lengths in tokens: `1024`, `"4k"`, `"512:8192:x2"` or several of them.
        macs: the fastest law that MACs may follow: `constant`, `linear`, `n log n`, `quadratic`, or
            a power such as `n^1.5`.
        peak_bytes: the fastest law that the peak bytes of a call may follow.
        options: as for the command line: `input="x=batch,len,64"`, `window`, `dtype` and so on.

    Raises:
        AssertionError: when a cost grows faster; the message names the law and the modules.
        UsageError: for arguments that cannot be used.
        MeasurementError: when the target fails at one of the lengths, or a law cannot be
            determined.
        UncountedError: when there is a law for MACs and an operator has no MAC formula.
    """
    __tracebackhide__ = True  # pytest then shows the line that calls this function
    reject_unknown_options(options, ContractOptions)
    growth = _laws(macs, peak_bytes)
    lengths = _lengths(lens)
    remaining = dict(cast("dict[str, Any]", options))
    with _registered(target, remaining) as name:
        measured = measure_contract(case_of(name, lengths[0], remaining), lengths)
    contract = Contract(name=name, file=Path(), line=0, target=name, lengths=lengths, growth=growth)
    _require_known_growth(contract, measured)
    comparison = Comparison(None, measured)
    breaches = [
        breach
        for quantity in growth
        for breach in growth_breaches(contract, quantity, comparison, "")
    ]
    if breaches:
        raise AssertionError(render_breaches(Result(_title(target), "", 0, tuple(breaches))))


def _title(target: object) -> str:
    """How messages name a target: by its reference, or by the name of its class or function."""
    if isinstance(target, str):
        return target
    return str(getattr(target, "__name__", type(target).__name__))


def _laws(macs: str | None, peak_bytes: str | None) -> dict[Quantity, GrowthLaw]:
    """The laws by quantity.

    Raises:
        UsageError: when there is none, or one that cannot be read.
    """
    texts = dict(zip(GROWING, (macs, peak_bytes), strict=True))
    laws: dict[Quantity, GrowthLaw] = {
        quantity: _law(quantity, text) for quantity, text in texts.items() if text is not None
    }
    if not laws:
        raise UsageError("macs", "(empty)", "name a law for macs, for peak_bytes, or for both")
    return laws


def _require_known_growth(contract: Contract, measured: ContractCosts) -> None:
    """Refuse a verdict on growth that is unknown.

    Raises:
        MeasurementError: when the measurement failed or a law could not be determined.
        UncountedError: when an operator has no MAC formula.
    """
    __tracebackhide__ = True
    problem = measured.problem or unknown_growth(contract, measured)
    if problem:
        raise MeasurementError(problem)
    if "macs" in contract.growth and measured.uncounted:
        from attnprof.counting.operator_counts import describe_uncounted

        raise UncountedError(describe_uncounted(measured.uncounted))
    if "peak_bytes" in contract.growth and measured.growth["peak_bytes"].law is None:
        names = ", ".join(sorted(measured.uncounted))
        raise MeasurementError(
            f"growth of peak bytes cannot be determined: the bytes that {names} allocates "
            f"internally are unknown"
        )


@contextmanager
def _registered(target: object, options: dict[str, Any]) -> Generator[str]:
    """The name that a target can be found by as a kernel, inside this context.

    For an object, `input` is taken out of the options: its name includes the inputs.
    """
    if isinstance(target, str):
        yield target
        return
    description = options.pop("input", None)
    inputs = [description] if isinstance(description, str) else list(description or ())
    try:
        with custom.registered_object(target, inputs) as name:
            yield name
    except UsageError as error:
        if error.argument == "kernel":
            raise UsageError("target", error.value, error.expected) from error
        raise


def _law(quantity: Quantity, text: str) -> GrowthLaw:
    try:
        return parse_law(text)
    except ValueError:
        raise UsageError(quantity, text, f"must be {LAW_FORMS}") from None


def _lengths(lens: int | str | Iterable[int | str]) -> tuple[int, ...]:
    words = [lens] if isinstance(lens, int | str) else list(lens)
    lengths = {n for word in words for n in parse_lengths(str(word))}
    if not lengths:
        raise UsageError("lens", "(empty)", "must be one or more lengths in tokens")
    return tuple(sorted(lengths))
