"""Reads option values into cases, before any work starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict, cast

from attnprof import kernels
from attnprof.core.errors import UsageError, suggest
from attnprof.core.lengths import parse_lengths
from attnprof.core.notation import (
    layer_pattern,
    parse_dilation,
    parse_global_tokens,
    parse_window,
)
from attnprof.core.option_values import (
    EMPTY_VALUE,
    Dilations,
    Values,
    read_dilations,
    split_values,
)
from attnprof.core.pattern import Pattern
from attnprof.core.pattern_stack import AttentionStack
from attnprof.core.shape import Shape, read_shape
from attnprof.core.units import format_tokens
from attnprof.core.workload import Case, Device, DType, Mode, Workload
from attnprof.kernels import Kernel
from attnprof.kernels.custom import is_target, name_of, with_inputs
from attnprof.kernels.custom.mask_options import Patterns, read_mask_patterns
from attnprof.kernels.custom.reference import inputs_of, split_names
from attnprof.kernels.default_choice import default_kernels

DEFAULT_LENGTHS = (512, 1024, 4096)
SCOPES = ("attention", "layer", "stack")
"""Values of `scope`: `stack` is whole layers, as many as the model has."""


DEVICES = ("auto", "cpu", "cuda")
"""Values of `device`."""

_TEXT_OPTIONS = ("model", "dtype", "device", "mode", "scope", "shard")

_PATHS = ("csv", "png", "svg", "json", "markdown", "html", "machine", "sweep")


class GridOptions(TypedDict, total=False):
    """The options that select kernels and workloads; each is optional, None is its default."""

    len: Values | None
    window: Values | None
    pattern: Patterns | None
    dilation: Dilations | None
    global_tokens: Values | None
    kernel: object
    input: Values | None
    model: str | None
    hidden_size: int | None
    num_heads: int | None
    kv_heads: int | None
    head_dim: int | None
    value_dim: int | None
    causal: bool | None
    new_tokens: int | None
    batch_size: int | None
    dtype: str | None
    device: str | None
    mode: str | None
    scope: str | None


def read_cases(options: GridOptions, device: Device) -> tuple[Case, ...]:
    """Every kernel at every length, sparse kernels with every pattern, in ascending lengths.

    A kernel that computes dense attention gets one case for each length, whatever the patterns. A
    custom kernel gets one for each workload that differs after it is adapted to the kernel; it is
    built once on fake tensors to check that it can be built.

    Args:
        options: as in Python or on the command line; None is a default.
        device: where the cases run.

    Raises:
        UsageError: for the first value that cannot be used, with the name of its option.
    """
    shape = read_shape(options)
    lengths = read_lengths(options)
    names = read_kernel_names(options)
    scope = read_scope(options, names, shape)
    selected = [(name, kernels.find(name)) for name in names]
    patterns = read_patterns(options, shape, scope, lengths)
    cases: dict[Case, None] = {}
    for seq_len in lengths:
        workloads = [
            _workload(options, shape, pattern, seq_len, device, scope) for pattern in patterns
        ]
        for name, kernel in selected:
            for workload in _workloads_of(kernel, workloads):
                cases[Case(name, workload)] = None
    _check_custom_kernels(tuple(cases))
    return tuple(cases)


def read_workloads(options: GridOptions, device: Device) -> list[Workload]:
    """Attention with every pattern at every length, in ascending lengths, whatever the kernel.

    Raises:
        UsageError: for the first value that cannot be used, with the name of its option.
    """
    shape = read_shape(options)
    lengths = read_lengths(options)
    patterns = read_patterns(options, shape, SCOPES[0], lengths)
    return [
        _workload(options, shape, pattern, seq_len, device, SCOPES[0])
        for seq_len in lengths
        for pattern in patterns
    ]


def _workload(
    options: GridOptions, shape: Shape, pattern: Pattern, seq_len: int, device: Device, scope: str
) -> Workload:
    return Workload(
        pattern,
        seq_len,
        hidden_size=shape.hidden_size,
        batch_size=shape.batch_size,
        dtype=cast("DType", options.get("dtype") or "float32"),
        device=device,
        mode=cast("Mode", options.get("mode") or "inference"),
        scope="attention" if scope == "attention" else "layer",
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        value_dim=shape.value_dim,
        new_tokens=shape.new_tokens,
    )


def read_lengths(options: GridOptions) -> list[int]:
    """The lengths in tokens, ascending, each once."""
    words = split_values(options, "len", DEFAULT_LENGTHS)
    return sorted({length for word in words for length in parse_lengths(word)})


def read_patterns(
    options: GridOptions, shape: Shape, scope: str, lengths: Sequence[int]
) -> list[Pattern]:
    """Every window with every dilation and every set of global positions, or every mask.

    Raises:
        UsageError: for a value that cannot be parsed.
    """
    model = shape.model
    num_layers = model.num_layers if scope == "stack" else 1
    if options.get("pattern") is not None:
        return read_mask_patterns(options, shape, lengths, num_layers)
    # A model's dilations belong to its own layers and heads.
    is_models_own = options.get("window") is None and options.get("num_heads") is None
    return _patterns(
        windows=split_values(options, "window", (model.window,)),
        dilations=read_dilations(
            options, model.dilation if is_models_own else "1", shape.num_heads
        ),
        global_tokens=split_values(options, "global_tokens", (shape.global_tokens,)),
        shape=shape,
        num_layers=num_layers,
        shortest=lengths[0],
    )


def _workloads_of(kernel: Kernel, workloads: Sequence[Workload]) -> Iterable[Workload]:
    """The workloads of one length as a kernel runs them, each once."""
    if is_target(kernel):
        return dict.fromkeys(kernel.adapt_workload(workload) for workload in workloads)
    if kernel.pattern_support == "dense":
        return dict.fromkeys(workload.densified() for workload in workloads)
    return workloads


def _check_custom_kernels(cases: Sequence[Case]) -> None:
    """Check the input sizes of each custom kernel, and build it once at its first workload."""
    first = {case.kernel: case for case in reversed(cases)}
    for name, case in first.items():
        kernel = kernels.find(name)
        if is_target(kernel):
            _check_sizes(name, [case.workload for case in cases if case.kernel == name])
            kernel.check(case.workload)


def _check_sizes(kernel: str, workloads: Sequence[Workload]) -> None:
    """Refuse an `--input` that has no whole sizes in any of the workloads.

    Raises:
        UsageError: for the first such input, with the reason at the first workload.
    """
    for spec in inputs_of(kernel):
        for dimension in spec.dimensions:
            refusals = [dimension.refusal(workload) for workload in workloads]
            if all(refusals):
                raise UsageError("input", spec.text, refusals[0])


def read_device_name(options: Mapping[str, object]) -> str:
    """The name of the device, `auto` by default; does not check that there is one.

    Raises:
        UsageError: for a name that is not in `DEVICES`.
    """
    name = options.get("device") or "auto"
    if name not in DEVICES:
        raise UsageError("device", name, f"unknown; {suggest(str(name), DEVICES)}")
    return str(name)


def reject_unknown_options(options: Mapping[str, object], known: type) -> None:
    """Refuse options that a command does not have, and values that must be strings and are not.

    Args:
        options: by name.
        known: the TypedDict of the command's options.

    Raises:
        UsageError: for the first of them; suggests a similar name for an unknown one.
    """
    names = known.__annotations__.keys()
    for name, value in options.items():
        if name not in names:
            raise UsageError(name, value, f"unknown option; {suggest(name, names)}")
        is_text = isinstance(value, str) or (name in _PATHS and isinstance(value, os.PathLike))
        if name in (*_TEXT_OPTIONS, *_PATHS) and value is not None and not is_text:
            expected = (
                "must be a file path"
                if name in _PATHS
                else "must be a string, as on the command line"
            )
            raise UsageError(name, f"of type {type(value).__name__}", expected)


def read_kernel_names(options: GridOptions) -> list[str]:
    """The names of the kernels, each once; `--input` becomes part of the names of custom kernels.

    Raises:
        UsageError: for an empty name, and for `--input` without a custom kernel.
    """
    chosen = _named(options.get("kernel"))
    default = default_kernels(options, read_shape(options)) if chosen is None else ()
    names = split_values({"kernel": chosen}, "kernel", default, split_names)
    described = split_values(options, "input", (), lambda text: [text])
    if described and not any(kernels.is_custom(name) for name in names):
        raise UsageError(
            "input", described[0], "applies to custom kernels only, such as --kernel pkg.mod:Net"
        )
    return list(
        dict.fromkeys(
            with_inputs(name, described) if kernels.is_custom(name) else name for name in names
        )
    )


def read_scope(options: GridOptions, names: Iterable[str], shape: Shape) -> str:
    """One of `SCOPES`.

    Layers of a model that differ are costed as a stack, which needs whole layers if the output of
    attention is not as wide as its input.

    Raises:
        UsageError: for another name, and where all kernels are custom.
    """
    scope = options.get("scope")
    if scope is None:
        is_custom = all(kernels.is_custom(name) for name in names)
        return SCOPES[0] if is_custom or not _needs_whole_layers(options, shape) else "stack"
    if scope not in SCOPES:
        raise UsageError("scope", scope or EMPTY_VALUE, f"unknown; {suggest(scope, SCOPES)}")
    if all(kernels.is_custom(name) for name in names):
        raise UsageError(
            "scope", scope, "applies to built-in kernels only; a custom kernel is costed as it is"
        )
    return scope


def _needs_whole_layers(options: GridOptions, shape: Shape) -> bool:
    if shape.output_width == shape.hidden_size or options.get("pattern") is not None:
        return False
    windows = split_values(options, "window", (shape.model.window,))
    return any(len(parse_window(window, causal=shape.causal)) > 1 for window in windows)


def _named(values: object) -> object:
    """Kernels by their names; objects are registered and replaced by the names that they get."""
    if values is None or isinstance(values, str):
        return values
    # Modules such as nn.Sequential are iterable, too.
    are_several = isinstance(values, Iterable) and not callable(values)
    chosen = cast("Iterable[object]", values) if are_several else (values,)
    return [kernel if isinstance(kernel, str) else name_of(kernel) for kernel in chosen]


def _patterns(
    *,
    windows: Sequence[str],
    dilations: Sequence[str],
    global_tokens: Sequence[str],
    shape: Shape,
    num_layers: int,
    shortest: int,
) -> list[Pattern]:
    """Every window with every dilation and every set of global positions.

    A window of one layer stands for `num_layers` equal layers; a window such as `32:64:128` names
    its layers itself.

    Raises:
        UsageError: for a value that cannot be parsed, and for a global position that is not in a
            sequence of `shortest` tokens.
    """
    positions = [parse_global_tokens(text) for text in global_tokens]
    for text, chosen in zip(global_tokens, positions, strict=True):
        if chosen and chosen[-1] >= shortest:
            raise UsageError(
                "global_tokens",
                text,
                f"position {chosen[-1]} is outside the shortest length, {format_tokens(shortest)}",
            )
    patterns: list[Pattern] = []
    for window in windows:
        layer_windows = parse_window(window, causal=shape.causal)
        for dilation in dilations:
            strides = parse_dilation(dilation, shape.num_heads, len(layer_windows))
            for chosen in positions:
                layers = tuple(
                    layer_pattern(w, heads, chosen, num_heads=shape.num_heads, causal=shape.causal)
                    for w, heads in zip(layer_windows, strides, strict=True)
                )
                if len(layers) == 1:
                    layers *= num_layers
                patterns.append(layers[0] if len(layers) == 1 else AttentionStack(layers=layers))
    return patterns
