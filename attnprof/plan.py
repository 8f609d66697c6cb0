"""What to cost: reads option values into cases before any work starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict, cast

from attnprof import kernels
from attnprof.errors import UsageError
from attnprof.models import find_model
from attnprof.notation import parse_dilation, parse_global_tokens, parse_window
from attnprof.pattern import AttentionPattern, AttentionStack, Pattern
from attnprof.units import parse_lengths
from attnprof.workload import Device, DType, Mode, Workload

Values = int | str | Sequence[int | str]
"""What an option takes from Python: a value as on the command line, an int, or several of them."""

DEFAULT_MODEL = "bert-base"
DEFAULT_LENGTHS = (512, 1024, 4096)
DEFAULT_KERNELS = ("bert-eager", "bert-sdpa", "longformer-hf")


class GridOptions(TypedDict, total=False):
    """The options that say what to cost; each is optional, None is its default."""

    len: Values | None
    window: Values | None
    dilation: Values | None
    global_tokens: Values | None
    kernel: Values | None
    model: str | None
    hidden_size: int | None
    num_heads: int | None
    batch_size: int | None
    dtype: str | None
    device: str | None
    mode: str | None


@dataclass(frozen=True, slots=True)
class Case:
    """One kernel on one workload."""

    kernel: str
    workload: Workload


def read_cases(options: GridOptions, device: Device) -> tuple[Case, ...]:
    """Every kernel at every length, sparse ones with every pattern, in ascending lengths.

    A kernel that computes dense attention gets one case at each length, whatever the patterns.

    Raises:
        UsageError: for the first value that cannot be used, by the name of its option.
    """
    model = find_model(options.get("model") or DEFAULT_MODEL)
    num_heads = _or_default(options.get("num_heads"), model.num_heads)
    if num_heads < 1:
        raise UsageError("num_heads", num_heads, "a positive whole number")
    lengths = sorted(
        {n for word in _words(options, "len", DEFAULT_LENGTHS) for n in parse_lengths(word)}
    )
    names = list(dict.fromkeys(_words(options, "kernel", DEFAULT_KERNELS)))
    chosen = [(name, kernels.find(name)) for name in names]
    patterns = _patterns(
        windows=_words(options, "window", (model.window,)),
        dilations=_words(options, "dilation", (model.dilation,)),
        global_tokens=_words(options, "global_tokens", (model.global_tokens,)),
        num_heads=num_heads,
        shortest=lengths[0],
    )
    cases: dict[Case, None] = {}
    for seq_len in lengths:
        workloads = [
            Workload(
                pattern,
                seq_len,
                hidden_size=_or_default(options.get("hidden_size"), model.hidden_size),
                batch_size=_or_default(options.get("batch_size"), 1),
                dtype=cast("DType", options.get("dtype") or "float32"),
                device=device,
                mode=cast("Mode", options.get("mode") or "inference"),
            )
            for pattern in patterns
        ]
        dense = list(dict.fromkeys(workload.densified() for workload in workloads))
        for name, kernel in chosen:
            for workload in dense if kernel.attends == "dense" else workloads:
                cases[Case(name, workload)] = None
    return tuple(cases)


def _or_default(value: int | None, default: int) -> int:
    return default if value is None else value


def _words(options: GridOptions, name: str, default: Iterable[int | str]) -> list[str]:
    """The values of one option as words, lists with commas taken apart."""
    values = cast("Values | None", options.get(name))
    if values is None:
        values = tuple(default)
    elif isinstance(values, int | str):
        values = (values,)
    words = [word.strip() for value in values for word in str(value).split(",")]
    if not words:
        raise UsageError(name, "(nothing)", "needs one value or more")
    return words


def _patterns(
    *,
    windows: Sequence[str],
    dilations: Sequence[str],
    global_tokens: Sequence[str],
    num_heads: int,
    shortest: int,
) -> list[Pattern]:
    """Every window with every dilation and every set of global positions."""
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
                patterns.append(layers[0] if len(layers) == 1 else AttentionStack(layers=layers))
    return patterns
