from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import attnprof, messages_of, rows_of
from studies import NUM_CASES, groups_of, results_of, saved


def parts(folder: Path, *indices: int, hosts: str = "aaa") -> list[str]:
    return [
        saved(
            folder,
            f"part-{index}.json",
            results_of(groups_of(folder, f"{index}/3"), host=hosts[index - 1]),
        )
        for index in indices
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shard", "9/8"), "attnprof: --shard 9/8: must be a part from 1 to 8"),
        (
            ("--dry-run", "--png", "x.png"),
            "attnprof: --png x.png: needs results; leave --dry-run out",
        ),
        (("--sweep", "none.toml"), "attnprof: --sweep none.toml: no such file"),
        (
            ("--sweep", "study.toml", "--window", "4", "8"),
            "attnprof: --sweep study.toml: selects the cases; remove --window",
        ),
    ],
)
def test_what_selects_no_cases_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    groups_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    done = attnprof("compare", *words)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (2, "", message)


def test_settings_do_not_change_a_study(tmp_path: Path) -> None:
    groups_of(tmp_path)
    words = ("compare", "--sweep", str(tmp_path / "study.toml"), "--dry-run")
    plain = attnprof(*words)
    assert plain.returncode == 0, plain.stderr
    other = attnprof(*words, ATTNPROF_DTYPE="float64", ATTNPROF_LEN="512", ATTNPROF_MAX_SECONDS="2")
    assert other.returncode == 0, other.stderr
    assert plain.stdout.splitlines()[:-6] == other.stdout.splitlines()[:-6]
    assert "(--max-seconds)" in " ".join(other.stdout.split())
    assert "up to 2 s" in " ".join(other.stdout.split())


def test_parts_are_joined_shown_and_saved(tmp_path: Path) -> None:
    joined, table = tmp_path / "joined.json", tmp_path / "joined.csv"
    names = parts(tmp_path, 1, 3, hosts="abc")
    done = attnprof("report", *names, "--json", str(joined), "--csv", str(table))
    assert done.returncode == 0, done.stderr
    lines = messages_of(done.stderr)
    assert lines[0].startswith("attnprof: part 2 of 3 is missing: ")
    headings = ["float32, batch 1", "float32, batch 2", "bfloat16, batch 1", "bfloat16, batch 2"]
    shown = done.stdout.splitlines()
    assert sorted(line for line in shown if line in headings) == sorted(headings)
    rows = rows_of(table)
    assert 0 < len(rows) < NUM_CASES
    assert {row["machine"] for row in rows} == {"Processor, 2 threads", "Processor, 2 threads #2"}
    assert len(json.loads(joined.read_text())["rows"]) == len(rows)


def test_other_runs_cannot_be_saved_as_one(tmp_path: Path) -> None:
    groups = groups_of(tmp_path, text='[grid]\nkernel = "bert-sdpa"\nlen = 64\n')
    other = saved(tmp_path, "other.json", results_of(groups))
    path = str(tmp_path / "both.json")
    done = attnprof("report", *parts(tmp_path, 1), other, "--json", path)
    assert done.returncode == 2
    assert messages_of(done.stderr)[-1] == (
        f"attnprof: --json {path}: needs the results of one run or study; name its files only"
    )


def test_the_guide_shows_the_study_and_its_plan() -> None:
    """All but what is free here: predicted peaks have a buffer for each thread."""
    examples = Path(__file__).parents[2] / "examples"
    guide, file = (examples / "sweeps.md").read_text(), examples / "study.toml"
    assert file.read_text().partition("\n\n")[2] in guide
    done = attnprof("compare", "--sweep", str(file), "--dry-run", OMP_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.rpartition(";")[0] in guide
