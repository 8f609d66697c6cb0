"""What a drawn point stands for, so that a page can show it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tag:
    """The value behind a point, a bar or an area.

    Attributes:
        kernel: the label of its curve.
        seq_len: length in tokens; None of an area.
        quantity: a column of the results, or a part of the MACs.
        value: in the unit of the quantity; None of an area.
        text: all of it, for people.
    """

    kernel: str
    seq_len: int | None
    quantity: str
    value: int | None
    text: str


@dataclass(slots=True)
class Tags:
    """The tags of a drawing, by the identifier of the group that contains the points in order."""

    by_id: dict[str, tuple[Tag, ...]] = field(default_factory=dict[str, tuple[Tag, ...]])

    def add(self, tags: tuple[Tag, ...]) -> str:
        """An identifier for a group of points."""
        name = f"points-{len(self.by_id)}"
        self.by_id[name] = tags
        return name
