"""Costs at base revisions are kept by everything that they depend on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from attnprof.guard import base_cache
from attnprof.guard.base_cache import BaseCache, BaseCosts
from attnprof.guard.contract import Contract
from attnprof.guard.lockfile import Entry
from attnprof.guard.measurement import Cell

CONTRACT = Contract(name="net", file=Path("attnprof.toml"), line=1, target="net:Net", lengths=(64,))
ENTRY = Entry(
    subject={"target": "net:Net", "len": [64]},
    versions={"torch": "2"},
    growth={"macs": "linear", "peak_bytes": ""},
    cells={"64": Cell(64, 8, 256)},
    macs={"layer.0..1 aten.mm": (32,)},
    calls={"layer.0..1 aten.mm": (1,)},
    bytes={},
    params={"layer.0..1": (4,)},
    uncounted={},
)
COSTS = BaseCosts(ENTRY)


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, warnings: list[str]) -> BaseCache:
    return BaseCache(tmp_path / "attnprof", warnings.append)


def test_costs_are_read_back_as_they_were(cache: BaseCache) -> None:
    cache.put("tree", ".", CONTRACT, COSTS)
    assert cache.get("tree", ".", CONTRACT) == COSTS
    absent = BaseCosts(None, "there is no module net")
    cache.put("other", ".", CONTRACT, absent)
    assert cache.get("other", ".", CONTRACT) == absent


def test_another_tree_folder_or_subject_has_other_costs(cache: BaseCache) -> None:
    cache.put("tree", ".", CONTRACT, COSTS)
    assert cache.get("tree2", ".", CONTRACT) is None
    assert cache.get("tree", "sub", CONTRACT) is None
    assert cache.get("tree", ".", replace(CONTRACT, lengths=(64, 128))) is None
    assert cache.get("tree", ".", replace(CONTRACT, options={"window": 8})) is None
    assert cache.get("tree", ".", replace(CONTRACT, name="other", forbids_uncounted=False)) == COSTS


def test_other_packages_or_another_attnprof_measure_again(
    cache: BaseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.put("tree", ".", CONTRACT, COSTS)
    known = base_cache._environment()
    for key in ("attnprof", "packages", "python", "platform", "path"):
        assert known[key]
        other = {**known, key: "other"}
        monkeypatch.setattr(base_cache, "_environment", lambda other=other: other)
        assert cache.get("tree", ".", CONTRACT) is None


def test_a_file_outside_the_revision_that_changed_measures_again(
    cache: BaseCache, tmp_path: Path
) -> None:
    outside = tmp_path / "sibling.py"
    outside.write_text("before")
    costs = replace(COSTS, elsewhere=base_cache.digests([outside]))
    cache.put("tree", ".", CONTRACT, costs)
    assert cache.get("tree", ".", CONTRACT) == costs
    outside.write_text("after")
    assert cache.get("tree", ".", CONTRACT) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"schema": 1, "costs": 3}', b"[1]"])
def test_a_damaged_file_is_ignored_and_said(
    cache: BaseCache, warnings: list[str], tmp_path: Path, content: bytes
) -> None:
    cache.put("tree", ".", CONTRACT, COSTS)
    (file,) = (tmp_path / "attnprof").iterdir()
    file.write_bytes(content)
    assert cache.get("tree", ".", CONTRACT) is None
    assert warnings == [f"{file}: is damaged; the base is measured again"]


def test_an_entry_that_does_not_fit_together_is_damaged(
    cache: BaseCache, warnings: list[str], tmp_path: Path
) -> None:
    cache.put("tree", ".", CONTRACT, COSTS)
    (file,) = (tmp_path / "attnprof").iterdir()
    content = json.loads(file.read_text())
    content["costs"]["entry"]["macs"]["layer.0..1 aten.mm"] = [1, 2]
    file.write_text(json.dumps(content))
    assert cache.get("tree", ".", CONTRACT) is None
    assert len(warnings) == 1


def test_the_oldest_files_are_removed(
    cache: BaseCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_cache, "MAX_FILES", 3)
    for index in range(6):
        cache.put(f"tree{index}", ".", CONTRACT, COSTS)
    assert len(list((tmp_path / "attnprof").iterdir())) == 3
    assert cache.get("tree5", ".", CONTRACT) == COSTS


def test_a_folder_that_cannot_be_written_is_said_once(warnings: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = BaseCache(tmp_path / "file" / "attnprof", warnings.append)
    for tree in ("one", "two"):
        cache.put(tree, ".", CONTRACT, COSTS)
    assert len(warnings) == 1
    assert "are not kept" in warnings[0]
    nothing = BaseCache(None, warnings.append)
    nothing.put("tree", ".", CONTRACT, COSTS)
    assert nothing.get("tree", ".", CONTRACT) is None
