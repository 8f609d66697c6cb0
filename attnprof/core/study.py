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

    def as_dict(self) -> dict[str, object]:
        """The fields by name, for JSON."""
        return {**asdict(self), "parts": list(self.parts), "settings": list(self.settings)}
