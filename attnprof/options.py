"""What to cost: reads option values into cases before any work starts."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypedDict, cast

from attnprof import kernels
from attnprof.core.errors import UsageError, suggest
from attnprof.core.notation import MAX_REPEATS, parse_dilation, parse_global_tokens, parse_window
from attnprof.core.pattern import AttentionPattern, AttentionStack, Pattern
from attnprof.core.presets import find_model
from attnprof.core.units import parse_lengths, parse_whole_number
from attnprof.core.workload import Case, Device, DType, Mode, Workload
from attnprof.kernels.custom import is_target, name_of, with_inputs
from attnprof.kernels.custom.reference import inputs_of, split_names

Values = int | str | Sequence[int | str]
"""What an option takes from Python: a value as on the command line, an int, or several of them."""

Dilations = Values | tuple[int, ...] | Sequence[int | str | tuple[int, ...]]
"""A tuple of ints is one value: a stride for each head."""

DEFAULT_MODEL = "bert-base"
DEFAULT_LENGTHS = (512, 1024, 4096)
SCOPES = ("attention", "layer", "stack")
"""What `scope` takes: `stack` is whole layers, as many as the model has."""

MAX_SECONDS = 10**8
"""No longer time can be waited for: three years."""

DEVICES = ("auto", "cpu", "cuda")
"""What `device` takes."""

DEFAULT_KERNELS = ("bert-eager", "bert-sdpa", "longformer-hf", "longformer-banded")

_TEXT_OPTIONS = ("model", "dtype", "device", "mode", "scope")

_PATHS = ("csv", "png", "json", "markdown", "html", "machine")

MAX_THREADS = 4096


class GridOptions(TypedDict, total=False):
    """The options that say what to cost; each is optional, None is its default."""

    len: Values | None
    window: Values | None
    dilation: Dilations | None
    global_tokens: Values | None
    kernel: object
    input: Values | None
    model: str | None
    hidden_size: int | None
    num_heads: int | None
    batch_size: int | None
    dtype: str | None
    device: str | None
    mode: str | None
    scope: str | None


def read_cases(options: GridOptions, device: Device) -> tuple[Case, ...]:
    """Every kernel at every length, sparse ones with every pattern, in ascending lengths.

    A kernel that computes dense attention gets one case at each length, whatever the patterns; so
    does what is the user's own, which is built once without numbers to see whether it can be.

    Raises:
        UsageError: for the first value that cannot be used, by the name of its option.
    """
    model = find_model(options.get("model") or DEFAULT_MODEL)
    num_heads = read_whole_number(options, "num_heads", model.num_heads)
    if num_heads > MAX_REPEATS:
        raise UsageError("num_heads", num_heads, f"a layer has at most {MAX_REPEATS:,} heads")
    hidden_size = read_whole_number(options, "hidden_size", model.hidden_size)
    batch_size = read_whole_number(options, "batch_size", 1)
    if hidden_size % num_heads:
        is_width_named = options.get("num_heads") is None
        raise (
            UsageError("hidden_size", hidden_size, f"no multiple of {num_heads} heads")
            if is_width_named
            else UsageError("num_heads", num_heads, f"does not divide hidden_size {hidden_size}")
        )
    # A model's dilations go with its own layers and heads.
    own_layers = options.get("window") is None and options.get("num_heads") is None
    lengths = sorted(
        {n for word in _split_values(options, "len", DEFAULT_LENGTHS) for n in parse_lengths(word)}
    )
    names = read_kernel_names(options)
    scope = _scope(options, names)
    chosen = [(name, kernels.find(name)) for name in names]
    patterns = _patterns(
        windows=_split_values(options, "window", (model.window,)),
        dilations=_dilations(options, model.dilation if own_layers else "1", num_heads),
        global_tokens=_split_values(options, "global_tokens", (model.global_tokens,)),
        num_heads=num_heads,
        num_layers=model.num_layers if scope == "stack" else 1,
        shortest=lengths[0],
    )
    cases: dict[Case, None] = {}
    for seq_len in lengths:
        workloads = [
            Workload(
                pattern,
                seq_len,
                hidden_size=hidden_size,
                batch_size=batch_size,
                dtype=cast("DType", options.get("dtype") or "float32"),
                device=device,
                mode=cast("Mode", options.get("mode") or "inference"),
                scope="attention" if scope == "attention" else "layer",
            )
            for pattern in patterns
        ]
        dense = list(dict.fromkeys(workload.densified() for workload in workloads))
        for name, kernel in chosen:
            fitting = dense if kernel.pattern_support == "dense" else workloads
            if is_target(kernel):
                fitting = dict.fromkeys(kernel.adapt_workload(workload) for workload in workloads)
            for workload in fitting:
                cases[Case(name, workload)] = None
    for kernel_name, case in {case.kernel: case for case in reversed(cases)}.items():
        kernel = kernels.find(kernel_name)
        if is_target(kernel):
            _check_sizes(kernel_name, [one.workload for one in cases if one.kernel == kernel_name])
            kernel.check(case.workload)
    return tuple(cases)


def _check_sizes(kernel: str, workloads: Sequence[Workload]) -> None:
    """Refuse a described input that has no whole sizes in any of the workloads."""
    for spec in inputs_of(kernel):
        for dimension in spec.dimensions:
            refusals = [dimension.refusal(workload) for workload in workloads]
            if all(refusals):
                raise UsageError("input", spec.text, refusals[0])


def read_device_name(options: Mapping[str, object]) -> str:
    """The device as it was named, `auto` by default; whether there is one is not asked.

    Raises:
        UsageError: for a name that is none.
    """
    name = options.get("device") or "auto"
    if name not in DEVICES:
        raise UsageError("device", name, suggest(str(name), DEVICES))
    return str(name)


def reject_unknown_options(options: Mapping[str, object], known: type) -> None:
    """Refuse options that a command does not have, and what is no text where text is needed.

    Raises:
        UsageError: for the first of them; of a name that is unknown, says what is near.
    """
    names = known.__annotations__.keys()
    for name, value in options.items():
        if name not in names:
            raise UsageError(name, value, f"there is no such option; {suggest(name, names)}")
        is_text = isinstance(value, str) or (name in _PATHS and isinstance(value, os.PathLike))
        if name in (*_TEXT_OPTIONS, *_PATHS) and value is not None and not is_text:
            expected = "the path of a file" if name in _PATHS else "a name, as on the command line"
            raise UsageError(name, f"of type {type(value).__name__}", expected)


def read_seconds(name: str, value: object, default: float) -> float:
    """A positive number of seconds, from a number or its text, for the option of that name.

    Raises:
        UsageError: for anything else.
    """
    text = str(default) if value is None else str(value)
    try:
        seconds = float(text) if text.isascii() else 0.0
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MAX_SECONDS:
        raise UsageError(name, value, f"a positive number of seconds, at most {MAX_SECONDS:,}")
    return seconds


def read_whole_number(options: Mapping[str, object], name: str, default: int) -> int:
    """A positive whole number, from an int or its text.

    Raises:
        UsageError: for anything else.
    """
    value = options.get(name)
    if value is None:
        return default
    number = parse_whole_number(_text(value), name, _text(value), "a positive whole number")
    if number < 1:
        raise UsageError(name, value, "a positive whole number")
    return number


def _text(value: object) -> str:
    """A value as text; Python writes no integer of thousands of digits."""
    try:
        return str(value) or "(nothing)"
    except ValueError:
        return f"of {math.ceil(cast('int', value).bit_length() * math.log10(2)):,} digits"


def read_threads(options: Mapping[str, object]) -> int | None:
    """How many threads the CPU is to compute with; None for torch's own choice.

    Raises:
        UsageError: for what is no such number.
    """
    if options.get("threads") is None:
        return None
    threads = read_whole_number(options, "threads", 1)
    if threads > MAX_THREADS:
        raise UsageError("threads", threads, f"a whole number from 1 to {MAX_THREADS:,}")
    return threads


def read_kernel_names(options: GridOptions) -> list[str]:
    """The kernels, each once; what is said of inputs becomes part of the user's own names.

    Raises:
        UsageError: for words that name none.
    """
    names = _split_values(
        {"kernel": _named(options.get("kernel"))}, "kernel", DEFAULT_KERNELS, split_names
    )
    described = _split_values(options, "input", (), lambda text: [text])
    if described and not any(kernels.is_custom(name) for name in names):
        raise UsageError(
            "input", described[0], "only what is your own takes inputs, as --kernel pkg.mod:Net"
        )
    return list(
        dict.fromkeys(
            with_inputs(name, described) if kernels.is_custom(name) else name for name in names
        )
    )


def _scope(options: GridOptions, names: Iterable[str]) -> str:
    """One of `SCOPES`."""
    scope = options.get("scope")
    if scope is None:
        return SCOPES[0]
    if scope not in SCOPES:
        raise UsageError("scope", scope or "(nothing)", suggest(scope, SCOPES))
    if all(kernels.is_custom(name) for name in names):
        raise UsageError(
            "scope", scope, "only built-in kernels have one; what is your own is costed as it is"
        )
    return scope


def _split_values(
    options: Mapping[str, object],
    name: str,
    default: Iterable[int | str],
    split: Callable[[str], list[str]] = lambda text: [part.strip() for part in text.split(",")],
) -> list[str]:
    """The values of one option as words, lists with commas taken apart."""
    values = options.get(name)
    if values is None:
        return [str(value) for value in default]
    if isinstance(values, str) or not isinstance(values, Iterable):
        values = (values,)
    words: list[str] = []
    for value in cast("Iterable[object]", values):
        parts = split(str(value) if isinstance(value, str) else _text(value))
        if "" in parts:
            raise UsageError(name, value or "(nothing)", "has an empty value")
        words += parts
    if not words:
        raise UsageError(name, "(nothing)", "needs one value or more")
    return words


def _named(values: object) -> object:
    """Kernels by their names, objects among them by what stands for them."""
    if values is None or isinstance(values, str):
        return values
    # Modules such as nn.Sequential have members, too.
    several = isinstance(values, Iterable) and not callable(values)
    things = cast("Iterable[object]", values) if several else (values,)
    return [thing if isinstance(thing, str) else name_of(thing) for thing in things]


def _dilations(options: GridOptions, default: str, num_heads: int) -> list[str]:
    """The values of `dilation` as words; a tuple of strides is one of them."""
    values = options.get("dilation")
    if isinstance(values, tuple) and not any(isinstance(value, str | tuple) for value in values):
        values = [cast("tuple[int, ...]", values)]
    elif isinstance(values, list):
        several = cast("list[object]", values)
        is_flat = not any(isinstance(value, str | tuple) for value in several)
        if is_flat and len(several) == num_heads > 1:
            raise UsageError(
                "dilation",
                values,
                "a tuple has a stride for each head, and a list of text such as ['1', '2'] has "
                "several values to compare",
            )
    if isinstance(values, list | tuple):
        values = [
            ":".join(map(str, cast("tuple[int, ...]", value)))
            if isinstance(value, tuple)
            else value
            for value in cast("list[object]", values)
        ]
    return _split_values({"dilation": values}, "dilation", (default,))


def _patterns(
    *,
    windows: Sequence[str],
    dilations: Sequence[str],
    global_tokens: Sequence[str],
    num_heads: int,
    num_layers: int,
    shortest: int,
) -> list[Pattern]:
    """Every window with every dilation and every set of global positions.

    A window that names one layer is that of `num_layers` alike; one that names several, of those.
    """
    positions = [parse_global_tokens(text) for text in global_tokens]
    for text, chosen in zip(global_tokens, positions, strict=True):
        if chosen and chosen[-1] >= shortest:
            raise UsageError(
                "global_tokens",
                text,
                f"position {chosen[-1]} lies outside the shortest length, {shortest:,} tokens",
            )
    patterns: list[Pattern] = []
    for window in windows:
        layer_windows = parse_window(window)
        for dilation in dilations:
            strides = parse_dilation(dilation, num_heads, len(layer_windows))
            for chosen in positions:
                layers = tuple(
                    AttentionPattern.sliding(w, heads, chosen, num_heads)
                    for w, heads in zip(layer_windows, strides, strict=True)
                )
                if len(layers) == 1:
                    layers *= num_layers
                patterns.append(layers[0] if len(layers) == 1 else AttentionStack(layers=layers))
    return patterns
