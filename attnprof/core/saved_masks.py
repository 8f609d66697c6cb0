"""What was counted of mask functions, kept with results so that their code need not run again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from attnprof.core.built_in_mask import parse_built_in
from attnprof.core.errors import UsageError
from attnprof.core.mask_counts import known_counts
from attnprof.core.mask_function import MaskCounts, MaskFunction, RecordedMask
from attnprof.core.mask_pattern import MaskPattern, mask_layers
from attnprof.core.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCounts:
    """What a mask lets through at one length; see `MaskCounts`."""

    num_heads: int
    seq_len: int
    queries: int
    pairs: int
    block_scores: int
    is_causal: bool
    has_empty_rows: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedMask:
    """What is known of a mask function.

    Attributes:
        depends_on_head: whether heads differ.
        counts: what it lets through.
    """

    depends_on_head: bool = False
    counts: tuple[SavedCounts, ...] = ()

    def pattern(self, text: str, num_heads: int, *, causal: bool) -> MaskPattern:
        """The pattern of a layer.

        Args:
            text: the function, as `--pattern` takes it.
            num_heads: heads of the layer.
            causal: whether no query attends to a later key.
        """
        counts = {
            (saved.num_heads, saved.seq_len, saved.queries): MaskCounts(
                pairs=saved.pairs,
                block_scores=saved.block_scores,
                is_causal=saved.is_causal,
                has_empty_rows=saved.has_empty_rows,
            )
            for saved in self.counts
        }
        return MaskPattern(
            num_heads=num_heads,
            right=0 if causal else None,
            causal=causal,
            function=RecordedMask(text=text, counts=counts, built_in=_built_in(text)),
            depends_on_head=self.depends_on_head,
        )


def _built_in(text: str) -> MaskFunction | None:
    try:
        return parse_built_in(text)
    except UsageError:  # of another version
        return None


def saved_masks(workloads: Iterable[Workload]) -> dict[str, object]:
    """What was counted of each mask function, by its text, as plain data."""
    layers = dict.fromkeys(layer for each in workloads for layer in mask_layers(each.pattern))
    return {
        layer.function.text: {
            "depends_on_head": layer.depends_on_head,
            "counts": [
                {"num_heads": heads, "seq_len": seq_len, "queries": queries, **asdict(counts)}
                for (heads, seq_len, queries), counts in sorted(
                    known_counts(layer.function).items()
                )
            ],
        }
        for layer in layers
    }
