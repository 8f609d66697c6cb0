"""The shape and pattern of workloads in words, for the headings of reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attnprof import kernels
from attnprof.core.mask_pattern import format_mask
from attnprof.core.notation import (
    FULL,
    format_dilation,
    format_global_tokens,
    format_window,
    has_windows,
    shorten_positions,
)
from attnprof.core.pattern import Pattern
from attnprof.core.presets import find_model_of
from attnprof.core.result_table import ResultTable, describe_extent
from attnprof.core.units import counted, format_count
from attnprof.core.workload import Device, Workload

_PATTERN_FIELDS: tuple[tuple[str, Callable[[Pattern], str]], ...] = (
    ("pattern", format_mask),
    ("window", format_window),
    ("dilation", format_dilation),
    ("global tokens", lambda pattern: shorten_positions(format_global_tokens(pattern))),
)


_MOST_PATTERN_CHARACTERS = 16
"""Longer lists of windows or dilations are described by their smallest and largest value."""

_DEVICES: dict[Device, str] = {"cpu": "CPU", "cuda": "CUDA"}


def describe_subject(table: ResultTable) -> str:
    """What the rows cost, as a heading: `Self-attention`, or `Encoder` for whole layers.

    `Causal self-attention`, or `Decoder`, where it is causal.
    """
    has_layers = any(row.workload.scope == "layer" for row in table.rows)
    if table.rows and all(row.workload.pattern.causal for row in table.rows):
        return "Decoder" if has_layers else "Causal self-attention"
    return "Encoder" if has_layers else "Self-attention"


def describe_setting(table: ResultTable) -> str:
    """The shape and pattern that the rows share, in one line."""
    rows = table.rows
    if not rows:
        return "no cases"
    workload = rows[0].workload
    shapes = dict.fromkeys(describe_shape(row.workload) for row in rows)
    extents = dict.fromkeys(describe_extent(row.workload) for row in rows)
    setting = (
        f"{''.join(f'{extent}, ' for extent in extents if extent)}{' and '.join(shapes)}, "
        f"batch {workload.batch_size}, {workload.dtype}, {workload.device}, "
        f"{describe_mode(workload)}"
    )
    built_in = [row.workload for row in rows if row.kernel in kernels.names()]
    sparse = [workload for workload in built_in if not workload.is_dense]
    dense = "dense causal" if workload.pattern.causal else "dense"
    pattern = describe_pattern(sparse) if sparse else dense if built_in else ""
    return f"{setting}; {pattern}" if pattern else setting


def describe_call(table: ResultTable) -> str:
    """What was compared, for people: `BERT-base self-attention (768 wide, 12 heads), batch 1, ...`.

    Args:
        table: with one row or more.
    """
    rows = table.rows
    workload = rows[0].workload
    # Dense kernels have no windows by which to tell models of equal sizes.
    sparse = (row.workload for row in rows if not row.workload.is_dense)
    model = find_model_of(next(sparse, workload))
    subject = describe_subject(table)
    is_custom = all(kernels.is_custom(row.kernel) for row in rows)
    name = f"{model.title} {subject.lower()}" if model and not is_custom else subject
    shapes = dict.fromkeys(
        f"{row.workload.hidden_size:,} wide, {_describe_heads(row.workload)}" for row in rows
    )
    extents = dict.fromkeys(describe_extent(row.workload) for row in rows)
    parts = [
        f"{name} ({' and '.join(shapes)})",
        *(extent for extent in extents if extent),
        f"batch {workload.batch_size}",
        workload.dtype,
        describe_device_and_mode(workload),
    ]
    return ", ".join(parts)


def describe_device_and_mode(workload: Workload) -> str:
    """`CPU inference`, or `CPU, decoding 1 token at the context length`."""
    separator = ", " if workload.mode == "decode" else " "
    return f"{_DEVICES[workload.device]}{separator}{describe_mode(workload)}"


def describe_mode(workload: Workload) -> str:
    """`inference`, `training`, or `decoding 1 token at the context length`."""
    if workload.mode != "decode":
        return workload.mode
    return f"decoding {counted(workload.new_tokens, 'token')} at the context length"


def describe_place(table: ResultTable, condition: str = "") -> str:
    """Where it was measured, and the pattern: `AMD EPYC, 2 threads; window 512, 1 global token`.

    Args:
        table: with one row or more.
        condition: of the machine, such as `machine quiet`; empty if there is nothing to say.
    """
    facts = table.environment or (table.machine.environment if table.machine else None)
    parts: list[str] = []
    if facts is None:
        is_timed = any("time_ns" in row.values for row in table.rows)
        parts.append("unknown machine" if is_timed else f"{_basis(table)}, nothing measured")
    else:
        gpu = facts.get("gpu") if table.rows[0].workload.device == "cuda" else None
        processor = str(gpu or facts.get("processor") or "unknown processor")
        parts.append(processor if table.environment else f"predicted for {processor}")
        threads = facts.get("threads")
        if not gpu and isinstance(threads, int):
            parts.append(counted(threads, "thread"))
    parts += _machines(table)
    if condition:
        parts.append(condition)
    pattern = describe_pattern_briefly(table)
    return ", ".join(parts) + (f"; {pattern}" if pattern else "")


def _machines(table: ResultTable) -> list[str]:
    """How many machines measured the rows, and which lengths each of them; empty for one."""
    lengths: dict[str, dict[int, None]] = {}
    for row in table.rows:
        lengths.setdefault(row.machine, {})[row.workload.seq_len] = None
    if len(lengths) < 2:
        return []
    each = "; ".join(", ".join(map(format_count, sorted(known))) for known in lengths.values())
    return [f"{len(lengths)} machines ({each} tokens)"]


def _basis(table: ResultTable) -> str:
    """Where costs that were not measured come from."""
    are_custom = {kernels.is_custom(row.kernel) for row in table.rows}
    names = {False: "closed forms", True: "operators counted"}
    return " and ".join(name for is_custom, name in names.items() if is_custom in are_custom)


def describe_pattern_briefly(table: ResultTable) -> str:
    """What all sparse rows share, without what is the default: `window 512, 1 global token`."""
    built_in = [row.workload for row in table.rows if not kernels.is_custom(row.kernel)]
    patterns = [workload.pattern for workload in built_in if not workload.is_dense]
    if not patterns:
        is_causal = built_in and all(workload.pattern.causal for workload in built_in)
        return "dense causal attention" if is_causal else "dense attention" if built_in else ""
    # The heading has the number of layers, so equal ones are described once.
    described = [p.layers[0] if len(set(p.layers)) == 1 else p for p in patterns]
    mask, window, dilation, positions = (
        {form(pattern) for pattern in described} for _, form in _PATTERN_FIELDS
    )
    if mask != {""}:
        return f"pattern {mask.pop()}" if len(mask) == 1 else counted(len(mask), "pattern")
    layers = [layer for pattern in patterns for layer in pattern.layers]
    parts = ["causal"] if all(pattern.causal for pattern in patterns) else []
    if len(window) == 1:
        windows = [layer.window for layer in layers if layer.window is not None]
        text = _one_or_range("window", window.pop(), windows)
        has_full = len(windows) < len(layers) and FULL not in text
        parts.append(f"{text} and {FULL}" if has_full else text)
    if len(dilation) == 1 and dilation != {"1"}:
        strides = [stride for layer in layers for stride in layer.dilation]
        parts.append(_one_or_range("dilation", dilation.pop(), strides))
    if len(positions) == 1:
        text = positions.pop()
        token = "attention sink" if patterns[0].causal else "global token"
        words = {"0": f"no {token}s", "1": f"1 {token}"}
        other = f"{token}s {text}" if text.startswith("@") else f"{text} {token}s"
        parts.append(words.get(text, other))
    return ", ".join(parts)


def _one_or_range(name: str, text: str, values: Sequence[int]) -> str:
    """`window 512`; of many layers or heads `windows 32 to 512`."""
    if len(text) <= _MOST_PATTERN_CHARACTERS:
        return f"{name} {text}"
    first, last = min(values), max(values)
    return f"{name} {first}" if first == last else f"{name}s {first} to {last}"


def describe_shape(workload: Workload) -> str:
    """The width and the number of heads: `hidden 768, 12 heads`."""
    return f"hidden {workload.hidden_size}, {_describe_heads(workload)}"


def _describe_heads(workload: Workload) -> str:
    """`12 heads`; `64 heads of 64, 8 of keys and values` where these do not follow from others."""
    heads = counted(workload.num_heads, "head")
    if workload.value_dim != workload.head_dim:
        heads += f" of {workload.head_dim}, values of {workload.value_dim}"
    elif workload.query_width != workload.hidden_size:
        heads += f" of {workload.head_dim}"
    if workload.kv_heads < workload.num_heads:
        heads += f", {workload.kv_heads} of keys and values"
    return heads


def describe_pattern(workloads: Iterable[Workload]) -> str:
    """Mask or window, dilation and global tokens, each where all workloads share it.

    Empty if dense.
    """
    patterns = [workload.pattern for workload in workloads]
    are_causal = all(pattern.causal and has_windows(pattern) for pattern in patterns)
    values = ((name, {form(pattern) for pattern in patterns}) for name, form in _PATTERN_FIELDS)
    shared = [(name, texts.pop()) for name, texts in values if len(texts) == 1]
    parts = [
        f"{'sinks' if are_causal and name == 'global tokens' else name} {text}"
        for name, text in shared
        if text
    ]
    return ", ".join(["causal", *parts] if parts and are_causal else parts)
