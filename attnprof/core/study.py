"""What a file of results says about the study that it is a part of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPart:
    """The part of a study that results are of.

    Attributes:
        digest: identifies the cases of the whole study, and what is measured of them.
        parts: the shards that the results have, from 1, ascending.
        count: of all shards.
        cases: of the whole study.
        settings: their names, in the order of the study.
        sources: digests of the source files of custom kernels, by kernel.
    """

    digest: str
    parts: tuple[int, ...]
    count: int
    cases: int
    settings: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def is_part(self) -> bool:
        """Whether there are other parts."""
        return len(self.parts) < self.count

    @property
    def name(self) -> str:
        """Such as `part 2 of 3`; empty for all of a study, and where parts are unknown."""
        if not self.is_part or not self.parts:
            return ""
        *first, last = map(str, self.parts)
        shown = " and ".join(filter(None, (", ".join(first), last)))
        return f"{'parts' if first else 'part'} {shown} of {self.count}"

    def as_dict(self) -> dict[str, object]:
        """The fields by name, for JSON."""
        return {**asdict(self), "parts": list(self.parts), "settings": list(self.settings)}
