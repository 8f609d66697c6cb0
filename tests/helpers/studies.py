"""Studies with literal results, as their shards save them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from saved_tables import ENVIRONMENT

from attnprof import ResultTable
from attnprof.api.study_records import study_part, with_settings
from attnprof.core.records import CASE, RATIO, REFERENCE, ROUNDS, Record
from attnprof.core.workload import Case
from attnprof.measure.single_case import MeasureSettings
from attnprof.measure.static_costs import closed_form_records
from attnprof.options.selection import Groups, read_groups, read_selection

STUDY = """
[grid]
kernel = ["bert-sdpa", "longformer-banded"]
len = [64, 128]
window = [8, 16]
dtype = ["float32", "bfloat16"]
batch_size = [1, 2]
hidden_size = 32
num_heads = 2
"""
"""Eight groups of three cases."""

NUM_CASES = 24


def groups_of(folder: Path, shard: str | None = None, text: str = STUDY) -> Groups:
    file = folder / "study.toml"
    file.write_text(text)
    return read_groups(read_selection({"sweep": str(file), "shard": shard}), {"auto": "cpu"})


def results_of(
    groups: Groups,
    *,
    host: str = "a",
    finished_at: str = "2026-01-02T10:00:00+00:00",
    factor: float = 1.0,
    environment: Mapping[str, object] = ENVIRONMENT,
) -> ResultTable:
    """What a run of a shard has at its end.

    Args:
        groups: of the study.
        host: digest of the host.
        finished_at: when it ended.
        factor: of all times.
        environment: of the machine.
    """
    table = ResultTable()
    table.study = study_part(groups, MeasureSettings(), {}, is_study=True)
    table.environment = {**environment, "host": host}
    table.finished_at = finished_at
    records = (
        record for group in groups.here for case in group for record in _records(case, factor)
    )
    for record in with_settings(records, groups.settings):
        table.add(record)
    return table


def _records(case: Case, factor: float) -> Iterator[Record]:
    """Closed forms, a time in proportion to the length, and a ratio to the reference."""
    new = Record(case.kernel, case.workload, CASE)
    yield from closed_form_records(case)
    is_reference = case.kernel == REFERENCE
    time_ns = round(factor * case.workload.seq_len * (2_000 if is_reference else 1_000))
    values = {"time_ns": time_ns, "time_low_ns": time_ns - 10, "time_high_ns": time_ns + 10}
    ratio = 1.0 if is_reference else 0.5
    ends = {"": ratio, "_low": ratio * 0.9, "_high": ratio * 1.1}
    values |= {f"{RATIO}{end}:{REFERENCE}": value for end, value in ends.items()}
    for quantity, value in {**values, "speedup": 1 / ratio, ROUNDS: 50}.items():
        yield replace(new, quantity=quantity, value=value)
    yield new


def saved(folder: Path, name: str, table: ResultTable) -> str:
    path = folder / name
    path.write_text(table.to_json())
    return str(path)


def with_values(path: str, kernel: str, **values: int) -> None:
    """Change values of the first row of a kernel in a file of results."""
    file = Path(path)
    document = json.loads(file.read_text())
    row = next(row for row in document["rows"] if row["kernel"] == kernel)
    row.update(values)
    file.write_text(json.dumps(document))
