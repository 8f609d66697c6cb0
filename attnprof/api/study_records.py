"""What a run of a study writes beside its measurements: its part, and the setting of each case."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from attnprof.core.records import SETTING, Record
from attnprof.core.study import StudyPart
from attnprof.core.workload import Case
from attnprof.measure.single_case import MeasureSettings
from attnprof.options.selection import Groups


def study_part(
    groups: Groups, measurements: MeasureSettings, sources: Mapping[str, str], *, is_study: bool
) -> StudyPart | None:
    """The part of a study that is run; None where there is neither a study nor a shard.

    Parts are of one study if its cases are the same, and what is measured of them; budgets and
    threads may differ.

    Args:
        groups: of the study.
        measurements: what is measured.
        sources: digests of the source files of custom kernels, by kernel.
        is_study: whether a file has the cases.
    """
    if not is_study and groups.shard.count == 1:
        return None
    measured = (
        groups.digest,
        measurements.count,
        measurements.time,
        measurements.memory,
        measurements.check_against,
    )
    return StudyPart(
        digest=hashlib.sha256(repr(measured).encode()).hexdigest()[:16],
        parts=(groups.shard.index,),
        count=groups.shard.count,
        cases=sum(map(len, groups.every)),
        settings=tuple(dict.fromkeys(groups.settings.values())),
        sources=sources,
    )


def with_settings(records: Iterable[Record], settings: Mapping[Case, str]) -> Iterator[Record]:
    """The records; before the first of a case comes its setting, if it has one."""
    known: set[Case] = set()
    for record in records:
        case = Case(record.kernel, record.workload)
        if case not in known:
            known.add(case)
            if settings.get(case) and record.quantity != SETTING:
                yield Record(record.kernel, record.workload, SETTING, detail=settings[case])
        yield record
