from __future__ import annotations

import json
from pathlib import Path

import pytest
from saved_tables import ENVIRONMENT
from studies import NUM_CASES, groups_of, results_of, saved, with_values

from attnprof import ResultTable
from attnprof.analysis import findings
from attnprof.analysis.comparisons import comparisons_of
from attnprof.cli.results import show_runs
from attnprof.core.errors import UsageError
from attnprof.core.saved_costs import SavedCosts
from attnprof.report.columns import COMPARE_COLUMNS
from attnprof.report.markdown import render_markdown
from attnprof.report.run import Run
from attnprof.report.saved import read_runs

LATER = "2026-01-03T10:00:00+00:00"


def read(*paths: str) -> tuple[list[Run], list[str]]:
    notes: list[str] = []
    return read_runs(paths, warn=notes.append), notes


def parts(folder: Path, count: int, *, hosts: str = "") -> list[str]:
    return [
        saved(
            folder,
            f"part-{index}.json",
            results_of(
                groups_of(folder, f"{index}/{count}"), host=(hosts or "a" * count)[index - 1]
            ),
        )
        for index in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [1, 3, 11])
def test_joined_parts_have_the_rows_of_the_whole(tmp_path: Path, count: int) -> None:
    whole = results_of(groups_of(tmp_path))
    (run,), notes = read(*reversed(parts(tmp_path, count)))
    assert run.table.num_rows == NUM_CASES
    assert run.table.to_csv() == whole.to_csv()
    assert notes == []
    assert [row.setting for row in run.table.rows] == [row.setting for row in whole.rows]


def test_a_joined_study_is_saved_and_read_again(tmp_path: Path) -> None:
    (run,), _ = read(*parts(tmp_path, 3, hosts="aba"))
    path = tmp_path / "joined.json"
    path.write_text(run.table.to_json())
    (again,), notes = read(str(path))
    assert again.table.to_csv() == run.table.to_csv()
    assert again.table.machines == run.table.machines
    assert notes == []


def test_costs_of_custom_kernels_are_known_at_the_lengths_of_all_parts(tmp_path: Path) -> None:
    paths: list[str] = []
    for index, seq_len in ((1, 64), (2, 128)):
        table = results_of(groups_of(tmp_path, f"{index}/2"))
        table.saved_costs = {"pkg.mod:Net; batch 1": SavedCosts(executed_macs={seq_len: index})}
        paths.append(saved(tmp_path, f"part-{index}.json", table))
        document = json.loads(Path(paths[-1]).read_text())
        document["rows"][0] |= {"kernel": "pkg.mod:Net", "setting": "batch 1"}
        Path(paths[-1]).write_text(json.dumps(document))
    (run,), _ = read(*paths)
    costs = run.table.saved_costs["pkg.mod:Net; batch 1"]
    assert costs.executed_macs == {64: 1, 128: 2}


def test_missing_shards_are_named(tmp_path: Path) -> None:
    paths = parts(tmp_path, 8)
    rest = [path for path in paths if path[-6] not in "35"]
    _, notes = read(*rest)
    assert notes == ["parts 3 and 5 of 8 are missing: 6 cases"]
    _, notes = read(paths[0])
    assert notes == ["parts 2, 3, 4, 5, 6, 7 and 8 of 8 are missing: 21 cases"]


def test_of_a_case_in_several_files_the_last_complete_run_is_shown(tmp_path: Path) -> None:
    paths = parts(tmp_path, 2)
    again = results_of(groups_of(tmp_path, "1/2"), factor=3.0, finished_at=LATER)
    paths.append(saved(tmp_path, "again.json", again))
    (run,), notes = read(*paths)
    assert run.table.num_rows == NUM_CASES
    expected = {(row.kernel, row.workload): row.integer("time_ns") for row in again.rows}
    found = {(row.kernel, row.workload): row.integer("time_ns") for row in run.table.rows}
    assert expected.items() <= found.items()
    assert len(notes) == 1
    assert notes[0].startswith("12 cases measured more than once")


def test_rows_that_were_timed_together_stay_together(tmp_path: Path) -> None:
    """A later run that was interrupted has one kernel only: its times have no pairs."""
    first = saved(tmp_path, "first.json", results_of(groups_of(tmp_path)))
    whole = results_of(groups_of(tmp_path), factor=3.0, finished_at=LATER)
    half = ResultTable(r for r in whole.records if r.kernel == "longformer-banded")
    half.study, half.environment, half.finished_at = whole.study, whole.environment, LATER
    (run,), _ = read(first, saved(tmp_path, "later.json", half))
    times = {row.integer("time_ns") for row in run.table.rows if row.workload.seq_len == 64}
    assert times == {64_000, 128_000}


def test_contradictions_are_named(tmp_path: Path) -> None:
    paths = parts(tmp_path, 2)
    environment = {**ENVIRONMENT, "packages": {"attnprof": "0.1.0", "torch": "2.12.0"}}
    other = results_of(groups_of(tmp_path, "1/2"), environment=environment)
    paths.append(saved(tmp_path, "other.json", other))
    with_values(paths[-1], "longformer-banded", executed_macs=77)
    _, notes = read(*paths)
    assert f"versions of torch differ: {paths[0]} and 1 more has 2.13.0, {paths[2]} has 2.12.0" in (
        notes
    )
    (line,) = (note for note in notes if "executed_macs" in note)
    assert line.startswith("longformer-banded at ")
    assert line.endswith(f", {paths[2]} has 77")


def test_files_of_other_studies_stay_side_by_side(tmp_path: Path) -> None:
    text = '[grid]\nkernel = "bert-sdpa"\nlen = 64\nhidden_size = 32\nnum_heads = 2\n'
    other = saved(tmp_path, "other.json", results_of(groups_of(tmp_path, text=text)))
    runs, notes = read(*parts(tmp_path, 2), other)
    assert [run.table.num_rows for run in runs] == [NUM_CASES, 1]
    assert notes == []
    assert [run.name for run in runs] == ["part-1", "other"]
    named = read_runs(parts(tmp_path, 2), names=("one", "two"))
    assert [run.name for run in named] == ["one", "two"]


def test_an_empty_shard_is_joined(tmp_path: Path) -> None:
    paths = parts(tmp_path, 11)
    assert [ResultTable.load(path).num_rows for path in paths[8:]] == [0, 0, 0]
    (run,), notes = read(*paths[7:])
    assert run.table.num_rows == 3
    assert notes == ["parts 1, 2, 3, 4, 5, 6 and 7 of 11 are missing: 21 cases"]


def test_an_empty_shard_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = parts(tmp_path, 11)
    for chosen, shown in (
        (paths[10:], "part 11 of 11 of this study has"),
        (paths[9:], "parts 10 and 11 of 11 of this study have"),
    ):
        runs, _ = read(*chosen)
        show_runs(runs, has_details=False, has_formulas=False)
        assert capsys.readouterr().out == f"{shown} no cases: they are in other parts\n"
    text = '[grid]\nkernel = "bert-sdpa"\nlen = 64\n'
    other = saved(tmp_path, "other.json", results_of(groups_of(tmp_path, text=text)))
    with pytest.raises(UsageError, match=r"without cases; name it with the other parts only"):
        read(other, paths[10])


def test_equal_machines_are_numbered_and_named_in_every_table(tmp_path: Path) -> None:
    (run,), _ = read(*parts(tmp_path, 2, hosts="ab"))
    names = {row.machine for row in run.table.rows}
    assert names == {"Processor, 2 threads", "Processor, 2 threads #2"}
    csv = run.table.to_csv().splitlines()[1:]
    assert {line.rpartition(',"')[2].strip('"') for line in csv} == names
    for part in comparisons_of(run.table):
        text = render_markdown(part.table, COMPARE_COLUMNS)
        assert "| machine |" in text


def test_times_of_several_machines_have_no_crossover(tmp_path: Path) -> None:
    """Each length was measured on another machine: nothing is said of lengths between them."""
    (run,), _ = read(*parts(tmp_path, 8, hosts="abcdefgh"))
    settings = comparisons_of(run.table)
    assert len(settings) == 4
    for part in settings:
        machines = [row.machine for row in part.table.rows]
        assert len(set(machines)) == 2
        found = findings.find(part.table)
        in_time = [one for one in found.crossovers if one.resource == "time"]
        assert all(one.measured and len(one.measured.lengths) == 1 for one in in_time)
        assert all(one.reference for one in found.fastest)


def test_machines_that_differ_are_not_compared(tmp_path: Path) -> None:
    fast = {**ENVIRONMENT, "processor": "Other"}
    first = results_of(groups_of(tmp_path, "1/2"))
    second = results_of(groups_of(tmp_path, "2/2"), environment=fast)
    (run,), _ = read(saved(tmp_path, "1.json", first), saved(tmp_path, "2.json", second))
    for part in comparisons_of(run.table):
        assert len({row.machine for row in part.table.rows}) == 1
        assert len({row.setting for row in part.table.rows}) == 1
        assert part.table.environment is not None
        kind = str(part.table.environment["processor"])
        assert part.name.startswith(f"{kind}, 2 threads, ")
