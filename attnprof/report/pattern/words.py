"""The words and numbers beside a picture of patterns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attnprof.core.blocks import BlockRun, ComputedBlocks
from attnprof.core.mask_pattern import MaskPattern
from attnprof.core.notation import format_global_tokens, format_layer_window, shorten_positions
from attnprof.core.units import (
    counted,
    format_count,
    format_macs,
    format_ratio,
    format_share,
    format_tokens,
)
from attnprof.report.pattern.panels import Panel
from attnprof.report.setting import describe_device_and_mode, describe_pattern

_LONG = 10**8
"""Pairs from which on four digits are shown."""


@dataclass(frozen=True, slots=True)
class BlockGroup:
    """Blocks over which the same products are computed.

    Attributes:
        products: what is computed over them: `scores`, `context`, `both` or `backward`.
        shape: the blocks of the most frequent size, and the number of others.
        pairs: in all blocks of the group.
    """

    products: str
    shape: str
    pairs: int


def pattern_name(panel: Panel) -> str:
    """The pattern in words: `window 8, dilation 2, 1 global token`; a mask by its name."""
    layer = panel.layer
    if isinstance(layer, MaskPattern):
        return layer.function.text
    if layer.is_dense:
        return "causal attention" if layer.causal else "full attention"
    stride = layer.dilation[panel.head]
    dilated = f", dilation {stride}" if stride > 1 else ""
    causal = "causal " if layer.causal else ""
    window = format_layer_window(layer)
    keys = window if "+" in window else format_count(int(window))
    return f"{causal}window {keys}{dilated}{_globals(panel)}"


def _globals(panel: Panel) -> str:
    positions = panel.layer.global_positions
    if not positions:
        return ""
    text = shorten_positions(format_global_tokens(panel.layer))
    if text.startswith("@"):
        return f", {'sinks' if panel.layer.causal else 'global'} {text}"
    noun = "sink" if panel.layer.causal else "global token"
    return f", {text} {noun}{'s' if len(positions) > 1 else ''}"


def headings(panels: Sequence[Panel]) -> list[str]:
    """The heading of each panel: its kernel, or its pattern, with its layers and heads."""
    patterns = {pattern_name(panel) for panel in panels if not panel.layer.is_dense}
    names = [
        f"{panel.kernel}, {pattern_name(panel)}"
        if panel.computed and len(patterns) > 1 and not panel.part and not panel.layer.is_dense
        else panel.kernel or pattern_name(panel)
        for panel in panels
    ]
    return [
        f"{name}, {panel.part}" if panel.part else name
        for name, panel in zip(names, panels, strict=True)
    ]


def title_of(panels: Sequence[Panel]) -> str:
    """What a picture shows, in one line."""
    seq_len = panels[0].seq_len
    tokens = f"{format_count(seq_len)} token{'s' if seq_len > 1 else ''}"
    has_kernels = any(panel.kernel for panel in panels)
    return f"{'What kernels compute' if has_kernels else 'Who attends to whom'}: {tokens}"


def setting_of(panels: Sequence[Panel]) -> str:
    """The pattern, and type, device and mode, which blocks depend on; empty without kernels."""
    if not any(panel.kernel for panel in panels):
        return ""
    sparse = [panel for panel in panels if not panel.layer.is_dense]
    names = {pattern_name(panel) for panel in sparse}
    pattern = names.pop() if len(names) == 1 else describe_pattern(p.workload for p in sparse)
    workload = panels[0].workload
    call = f"{workload.dtype}, {describe_device_and_mode(workload)}"
    return f"{pattern}; {call}" if pattern else call


def useful_text(panel: Panel) -> str:
    """Attended pairs of one head."""
    return _pairs(panel.useful_pairs)


def computed_text(panel: Panel) -> str:
    """Pairs that the kernel multiplies for one head in the forward pass."""
    return _pairs(panel.executed_pairs)


def _pairs(pairs: int) -> str:
    return format_count(pairs) if pairs < _LONG else format_macs(pairs, "")


def share_text(panel: Panel) -> str:
    """Attended pairs over those of dense attention, causal where the pattern is: `13.7 %`."""
    return format_share(panel.useful_pairs, panel.dense_pairs)


def dense_text(panel: Panel) -> str:
    """What the share is of: `dense`, or `causal dense`."""
    return "causal dense" if panel.layer.causal else "dense"


def reach_texts(panel: Panel) -> tuple[str, str]:
    """Tokens that a token in the middle reaches: after one layer, and after all of them."""
    return format_count(panel.reach[0]), format_count(panel.reach[-1])


def layers_text(panel: Panel) -> str:
    """How many layers the receptive field spans: `12 layers`."""
    return counted(len(panel.reach), "layer")


def cell_text(tokens: int) -> str:
    """The size of a cell: `16 x 16 tokens`."""
    return f"{format_count(tokens)} x {format_tokens(tokens)}"


def ratio_text(panel: Panel) -> str:
    """Executed pairs over useful ones: `1.71x`."""
    return format_ratio(panel.executed_pairs / panel.useful_pairs)


def block_groups(panel: Panel) -> Iterator[BlockGroup]:
    """The blocks of a panel's kernel by what is computed over them."""
    runs: dict[str, list[BlockRun]] = {}
    for part in panel.computed:
        runs.setdefault(_products(part), []).extend(part.runs)
    for products, of_products in runs.items():
        pairs = sum(run.pairs for run in of_products)
        yield BlockGroup(products, _shape(of_products), pairs)


def _products(part: ComputedBlocks) -> str:
    if part.scores and part.context:
        return "both"
    return "scores" if part.scores else "context" if part.context else "backward"


def _shape(runs: Sequence[BlockRun]) -> str:
    """The size of most blocks, by the pairs in them: `29 blocks of 32 x 160, 8 others`."""
    counts: Counter[tuple[int, int]] = Counter()
    for run in runs:
        counts[len(run.queries), len(run.keys)] += run.count
    (queries, keys), count = max(counts.items(), key=lambda item: item[1] * item[0][0] * item[0][1])
    others = sum(counts.values()) - count
    noun = "block" if count == 1 else "blocks"
    size = f"{format_count(count)} {noun} of {format_count(queries)} x {format_count(keys)}"
    return f"{size}, {format_count(others)} other{'s' if others > 1 else ''}" if others else size
