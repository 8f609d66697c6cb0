"""`MacParts`: executed MACs by what they are spent on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from attnprof.core.mac_terms import MacTerm


@dataclass(frozen=True, slots=True, kw_only=True)
class MacParts:
    """MACs of a call by part; in training a part includes its backward pass.

    Attributes:
        projections: of queries, keys and values.
        scores: queries times keys, masked scores included.
        context: attention weights times values.
        global_tokens: what global tokens add: their projections, rows and columns.
        output_projection: after the attention, in scope `layer`.
        feed_forward: in scope `layer`.
    """

    projections: int = 0
    scores: int = 0
    context: int = 0
    global_tokens: int = 0
    output_projection: int = 0
    feed_forward: int = 0

    @property
    def total(self) -> int:
        """The sum of all parts."""
        return sum(self.by_name().values())

    def by_name(self) -> dict[str, int]:
        """The parts by the names of the attributes, in their order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def sum_terms(terms: Iterable[MacTerm]) -> MacParts:
    """The MACs of terms, added up by part."""
    macs = dict.fromkeys((field.name for field in fields(MacParts)), 0)
    for term in terms:
        macs[term.part] += term.macs
    return MacParts(**macs)
