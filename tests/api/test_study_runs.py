from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import attnprof
from attnprof.core.errors import UsageError
from attnprof.report.saved import read_runs

STUDY = """
[grid]
kernel = ["longformer-masked", "longformer-banded"]
len = [24, 48]
window = 8
batch_size = [1, 2]
hidden_size = 32
num_heads = 4

[[exclude]]
kernel = "longformer-masked"
len = 48
batch_size = 2
"""

TIMED = ("time_ns", "time_low_ns", "time_high_ns", "speedup", "bound", "utilisation")


@pytest.fixture
def study(tmp_path: Path) -> str:
    file = tmp_path / "study.toml"
    file.write_text(STUDY)
    return str(file)


def run(study: str, **options: Any) -> attnprof.ResultTable:
    defaults: dict[str, Any] = {"no_isolation": True, "no_time": True, "no_memory": True}
    return attnprof.compare(sweep=study, **{**defaults, **options})


def test_parts_of_a_run_have_the_counts_of_the_whole(study: str, tmp_path: Path) -> None:
    whole = run(study)
    paths = [str(tmp_path / f"part-{index}.json") for index in (1, 2, 3)]
    for index, path in enumerate(paths, 1):
        part = run(study, shard=f"{index}/3", json=path)
        assert part.study is not None
        assert part.study.parts == (index,)
        assert (part.study.count, part.study.cases) == (3, 7)
    assert whole.num_rows == 7
    for suffix in (".json", ".jsonl"):
        notes: list[str] = []
        (joined,) = read_runs([path.replace(".json", suffix) for path in paths], warn=notes.append)
        assert joined.table.to_csv() == whole.to_csv()
        assert notes == []


def test_a_table_of_several_settings_shows_each_of_them(study: str, tmp_path: Path) -> None:
    table = run(study)
    text = str(table)
    assert [line for line in text.splitlines() if line in ("batch 1", "batch 2")] == [
        "batch 1",
        "batch 2",
    ]
    assert "\n\n\n" not in text
    assert text.splitlines()[-1].endswith(" on these settings: --details")
    for name in ("a.md", "a.html", "a.svg", "a.csv"):
        table.save(tmp_path / name)
    markdown = (tmp_path / "a.md").read_text()
    assert markdown.startswith("## batch 1\n")
    assert "\n## batch 2\n" in markdown
    assert "Self-attention in 2 settings" in (tmp_path / "a.html").read_text()
    assert "<h3>batch 2</h3>" in (table._repr_html_() or "")


def test_a_mark_is_explained_where_it_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(
        '[grid]\nkernel = ["bert-sdpa", "longformer-banded"]\nlen = 256\nwindow = 64\n'
        'dtype = ["float32", "bfloat16"]\n'
    )
    text = str(run(str(file)))
    assert text.count(" M* ") == 2
    assert sum(line.startswith("* 0.") for line in text.splitlines()) == 2


def test_a_shard_is_resumed(study: str, tmp_path: Path) -> None:
    path = tmp_path / "part.json"
    options = {"shard": "1/2", "json": str(path)}
    first = run(study, **options)
    journal = path.with_suffix(".jsonl")
    header, *lines = journal.read_text().splitlines()
    assert json.loads(header)["study"]["parts"] == [1]
    # What a killed run leaves: all but the last case.
    last = max(i for i, line in enumerate(lines[:-2]) if json.loads(line)["quantity"] == "case")
    journal.write_text("\n".join([header, *lines[: last + 1]]) + "\n")
    again = run(study, **options, resume=True)
    assert again.to_csv() == first.to_csv()
    assert {row.setting for row in again.rows} == {row.setting for row in first.rows}


def test_another_part_is_not_resumed(study: str, tmp_path: Path) -> None:
    """Its finished rows would be dropped; the whole study has them all."""
    path = tmp_path / "part.json"
    num_rows = run(study, shard="1/2", json=str(path)).num_rows
    files = (path, path.with_suffix(".jsonl"))
    before = [file.read_bytes() for file in files]
    for _ in range(2):  # with its records, and without
        with pytest.raises(UsageError) as caught:
            run(study, shard="2/2", json=str(path), resume=True)
        assert str(caught.value) == (
            f"resume {path}: has part 1 of 2 of this study; part 2 of 2 would drop "
            f"{num_rows} rows; name another file with --json"
        )
        assert path.read_bytes() == before[0]
        assert not files[1].exists() or files[1].read_bytes() == before[1]
        files[1].unlink(missing_ok=True)
    files[1].write_bytes(before[1])
    assert run(study, json=str(path), resume=True).num_rows == 7
    with pytest.raises(UsageError, match=r"has all of this study; part 1 of 2 would drop"):
        run(study, shard="1/2", json=str(path), resume=True)


def test_a_shard_without_groups_has_empty_results(study: str, tmp_path: Path) -> None:
    path = tmp_path / "part.json"
    table = run(study, shard="8/8", json=str(path), csv=str(tmp_path / "part.csv"))
    assert table.rows == []
    assert attnprof.ResultTable.load(path).study == table.study
    assert len((tmp_path / "part.csv").read_text().splitlines()) == 1


def test_a_shard_needs_no_study() -> None:
    options: dict[str, Any] = {
        "kernel": "longformer-banded", "len": [24, 48], "window": 8, "hidden_size": 32,
        "num_heads": 4, "no_isolation": True, "no_time": True, "no_memory": True,
    }  # fmt: skip
    lengths = [
        [row.workload.seq_len for row in attnprof.compare(**options, shard=f"{index}/2").rows]
        for index in (1, 2)
    ]
    assert lengths == [[48], [24]]


def test_a_study_is_checked_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file"):
        attnprof.compare(sweep=str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match=r"must be a file path"):
        attnprof.compare(sweep=["a.toml"])  # pyright: ignore[reportArgumentType]
