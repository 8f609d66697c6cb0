"""What a picture of patterns shows: a panel for each head that differs, with a kernel's blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from attnprof import kernels
from attnprof.core.blocks import BlockRun, ComputedBlocks
from attnprof.core.mask_cells import heads_alike
from attnprof.core.mask_counts import mask_blocks
from attnprof.core.mask_pattern import MaskPattern
from attnprof.core.pattern import AttentionPattern
from attnprof.core.receptive_field import receptive_fields
from attnprof.core.workload import Workload

MANY_LAYERS = 12
"""Layers over which the receptive field of a single layer is stated: those of BERT base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The pattern of one head, alone or under the blocks that a kernel computes for it.

    Attributes:
        workload: the call that the head belongs to.
        layer: pattern of its layer.
        head: index of the head.
        part: which layers and heads have this pattern, such as `heads 1-10`; empty if all have.
        kernel: name of the kernel; empty for the pattern alone.
        computed: the kernel's blocks; empty if it cannot compute the pattern.
        refusal: why it cannot.
        reach: tokens that a token in the middle reaches after each layer, from the top.
    """

    workload: Workload
    layer: AttentionPattern
    head: int
    part: str
    kernel: str
    computed: tuple[ComputedBlocks, ...]
    refusal: str
    reach: tuple[int, ...]

    @property
    def seq_len(self) -> int:
        """Tokens in the sequence."""
        return self.workload.seq_len

    @property
    def useful_pairs(self) -> int:
        """Attended pairs of the head."""
        if isinstance(self.layer, MaskPattern):
            blocks = mask_blocks(self.layer.function, self.layer.num_heads, self.seq_len)
            return int(blocks.of_head(self.head).sum(dtype="int64"))
        own = replace(self.layer, num_heads=1, dilation=self.layer.dilation[self.head :][:1])
        return own.pairs(self.seq_len)

    @property
    def dense_pairs(self) -> int:
        """Pairs of one head of dense attention, which is causal where the pattern is."""
        return AttentionPattern.dense(1, causal=self.layer.causal).pairs(self.seq_len)

    @property
    def forward_blocks(self) -> tuple[ComputedBlocks, ...]:
        """The blocks of the forward pass."""
        return tuple(part for part in self.computed if part.scores or part.context)

    @property
    def runs(self) -> Iterator[BlockRun]:
        """All blocks of the forward pass."""
        for part in self.forward_blocks:
            yield from part.runs

    @property
    def executed_pairs(self) -> int:
        """Pairs multiplied in the forward pass: the mean of scores and context."""
        return (
            sum((part.scores + part.context) * part.pairs for part in self.forward_blocks) + 1
        ) // 2


def panels_of(
    workloads: Iterable[Workload], names: Sequence[str] = (), num_layers: int = MANY_LAYERS
) -> tuple[Panel, ...]:
    """A panel for each kernel and each head that differs from the others of its workload.

    Args:
        workloads: in the order of the panels.
        names: built-in kernels; none for the patterns alone.
        num_layers: layers of the receptive field, for workloads of a single layer.

    Raises:
        UsageError: for a kernel that is not built in.
    """
    panels: dict[Panel, None] = {}
    for workload in workloads:
        for name in names or ("",):
            panels.update(dict.fromkeys(_panels_of_kernel(workload, name, num_layers)))
    return tuple(panels)


def _panels_of_kernel(workload: Workload, name: str, num_layers: int) -> Iterator[Panel]:
    kernel = kernels.find_built_in(name) if name else None
    if kernel and kernel.pattern_support == "dense":
        workload = workload.densified()
    refusal = (kernel.unsupported_reason(workload) or "") if kernel else ""
    reach = _reach(workload, num_layers)
    parts = list(parts_of(workload))
    for layer, head, part in [(*parts[0][:2], "")] if refusal else parts:
        yield Panel(
            workload=workload,
            layer=layer,
            head=head,
            part=part,
            kernel=name,
            computed=kernel.blocks(workload, layer, head) if kernel and not refusal else (),
            refusal=refusal,
            reach=reach,
        )


def parts_of(workload: Workload) -> Iterator[tuple[AttentionPattern, int, str]]:
    """Each layer and head whose pattern differs from all before it, and who else has it."""
    layers = dict.fromkeys(workload.layers)
    for layer in layers:
        same_layers = [i for i, other in enumerate(workload.layers) if other == layer]
        groups = _heads_alike(layer, workload.seq_len)
        for same_heads in groups:
            parts = (
                _numbered("layer", same_layers) if len(layers) > 1 else "",
                _numbered("head", same_heads) if len(groups) > 1 else "",
            )
            yield layer, same_heads[0], ", ".join(part for part in parts if part)


def _heads_alike(layer: AttentionPattern, seq_len: int) -> Sequence[Sequence[int]]:
    """Indices of heads in groups with one pattern, in the order of their first heads."""
    if isinstance(layer, MaskPattern):
        return heads_alike(layer, seq_len)
    return [
        [i for i, other in enumerate(layer.dilation) if other == stride]
        for stride in dict.fromkeys(layer.dilation)
    ]


def _numbered(noun: str, indices: Sequence[int]) -> str:
    """`head 3`, or `heads 1-10, 12`: numbers count from 1."""
    starts = [i for i, (a, b) in enumerate(pairwise([-2, *indices])) if b != a + 1]
    spans = [indices[start:stop] for start, stop in pairwise([*starts, len(indices)])]
    numbers = ", ".join(
        f"{span[0] + 1}-{span[-1] + 1}" if len(span) > 1 else str(span[0] + 1) for span in spans
    )
    return f"{noun}{'s' if len(indices) > 1 else ''} {numbers}"


def _reach(workload: Workload, num_layers: int) -> tuple[int, ...]:
    layers = workload.layers if len(workload.layers) > 1 else workload.layers * num_layers
    return tuple(receptive_fields(layers[::-1], workload.seq_len, workload.seq_len // 2))
