"""Tables of literal records, and the files they go to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from result_tables import table

from attnprof import ResultTable
from attnprof.core.errors import MeasurementError, UsageError
from attnprof.report import outputs as saving
from attnprof.report.outputs import Outputs


def outputs(**paths: str) -> Outputs:
    renderers = {
        "csv": ResultTable.to_csv,
        "json": lambda table: "{}",
        "png": lambda table: b"\x89",
        "html": lambda table: "<html>",
    }
    return Outputs.read(paths, renderers)  # type: ignore[arg-type]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_are_written_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    path.chmod(0o640)
    outputs(csv=str(path), png=str(tmp_path / "out.png")).save(table())
    assert path.read_text() == table().to_csv()
    assert path.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "out.png").read_bytes() == b"\x89"
    assert names_in(tmp_path) == ["out.csv", "out.png"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    writer = outputs(csv=str(path), json=str(tmp_path / "out.json"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MeasurementError, match=r"--csv .*out.csv: .*No space left.*; --json"):
        writer.save(table())
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["out.csv"]


def test_links_are_followed_and_kept(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    outputs(csv=str(tmp_path / "link.csv")).save(table())
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == table().to_csv()


def test_devices_are_written_and_not_replaced() -> None:
    outputs(csv="/dev/null").save(table())
    assert not Path("/dev/null").is_file()
    with pytest.raises(MeasurementError, match="No space left"):
        outputs(csv="/dev/full").save(table())


def test_stdout_gets_the_requested_format(capsys: pytest.CaptureFixture[str]) -> None:
    writer = outputs(csv="-")
    assert writer.takes_stdout
    writer.save(table())
    assert capsys.readouterr().out == table().to_csv()


def test_paths_that_cannot_be_written_are_refused_before_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cases = {
        str(tmp_path / "missing" / "x.csv"): "does not exist",
        str(tmp_path): "is a folder",
        str(tmp_path / "file" / "x.csv"): "does not exist",
    }
    for path, message in cases.items():
        with pytest.raises(UsageError, match=message):
            outputs(csv=path)
    with pytest.raises(UsageError, match="already used by --csv"):
        outputs(csv=str(tmp_path / "a"), json=str(tmp_path / "a"))
    assert names_in(tmp_path) == ["file"]


def test_text_files_are_saved_while_rows_come_in(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    path = tmp_path / "out.csv"
    drawn = {form: str(tmp_path / f"out.{form}") for form in ("png", "html")}
    writer = outputs(csv=str(path), json=str(fifo), **drawn)
    writer.save_files(table())
    assert path.read_text() == table().to_csv()
    assert names_in(tmp_path) == ["fifo", "out.csv"]


def test_an_empty_path_is_refused_and_dev_stdout_is_a_dash() -> None:
    with pytest.raises(UsageError, match="name a file"):
        outputs(csv="")
    assert outputs(csv="/dev/stdout").takes_stdout


def test_only_files_of_the_last_save_are_reported_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv_file, json_file = str(tmp_path / "a.csv"), str(tmp_path / "a.json")
    options: Any = {"csv": csv_file, "json": json_file, "markdown": "-"}
    render: Any = dict.fromkeys(("csv", "json", "markdown"), str)
    written: Outputs[str] = Outputs.read(options, render)
    assert written.written == []
    written.save_files("rows")
    assert written.written == [csv_file, json_file]

    def is_full(path: Path, content: bytes) -> None:
        if path == Path(csv_file):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "replace_file", is_full)
    with pytest.raises(MeasurementError, match=r"a\.csv: could not be written"):
        written.save("more rows")
    assert written.written == [json_file]
