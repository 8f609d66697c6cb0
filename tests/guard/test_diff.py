"""`guard diff` on real repositories: each revision's own code is measured."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from git_project import IDENTITY, GitProject, git, net, net_contract

from attnprof.guard.diff import Timing
from attnprof.guard.paired_timing import change_of
from attnprof.isolation.workers import Workers


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def project(tmp_path: Path, guard_workers: Workers) -> GitProject:
    """A repository whose `net` is 16 wide on `main`."""
    project = GitProject(tmp_path / "project", guard_workers)
    project.commit({"attnprof.toml": net_contract(), "net.py": net(16)})
    return project


class CountedWorkers:
    """Workers that count what they measure."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.runs = 0

    def run(self, function: Callable[..., Any], *args: Any, max_seconds: float) -> Any:
        self.runs += 1
        return self._workers.run(function, *args, max_seconds=max_seconds)

    worker = preload = None


def test_uncommitted_changes_are_compared_with_the_base(project: GitProject) -> None:
    project.write({"net.py": net(24)})
    diff = project.diff()
    (net_difference,) = diff.differences
    assert diff.exit_code == 1
    assert net_difference.word == "broken"
    macs = [costs[64].macs for costs in (net_difference.base, net_difference.head)]
    assert macs == [8 * 16 * 64, 8 * 24 * 64]
    (breach,) = [each for each in net_difference.result.breaches if each.term == "macs"]
    assert breach.says == "MACs rose at every length, by up to 50 %"
    assert diff.notes == ("the working tree includes uncommitted changes in 1 file",)
    assert str(diff.head) == "working tree"
    assert len(project.git("worktree", "list").splitlines()) == 1


def test_equal_costs_are_unchanged_and_lower_ones_are_no_failure(project: GitProject) -> None:
    assert project.only().word == "unchanged"
    project.write({"net.py": net(8)})
    cheaper = project.only()
    assert (cheaper.word, cheaper.result.status) == ("changed", "kept")
    assert "MACs at 128 tokens: 16.38 KMac → 8.192 KMac  -50 %" in cheaper.changes
    assert cheaper.where == ("aten.mm: 16.38 KMac → 8.192 KMac",)


def test_two_commits_are_compared_whatever_the_working_tree_has(project: GitProject) -> None:
    first = project.git("rev-parse", "HEAD")
    second = project.commit({"net.py": net(24)})
    project.write({"net.py": "raise RuntimeError", "attnprof.toml": "not toml"})
    diff = project.diff(first, second)
    assert diff.exit_code == 1
    assert diff.differences[0].result.file == "attnprof.toml"
    assert not diff.notes
    diff = project.diff(second, first)
    assert diff.exit_code == 0
    assert diff.notes[0].startswith(f"{second[:7]} has commits that are not in {first[:7]}: ")


def test_any_target_is_compared_without_limits(project: GitProject) -> None:
    project.write({"net.py": net(24)})
    diff = project.diff(targets={"kernel": ["net:Net"], "len": [64], "input": ["x=batch,len,8"]})
    (difference,) = diff.differences
    assert (diff.exit_code, difference.word) == (0, "changed")
    assert difference.changes[0] == "MACs at 64 tokens: 8.192 KMac → 12.29 KMac  +50 %"


def test_limits_are_those_of_the_head(project: GitProject) -> None:
    project.write({"net.py": net(24), "attnprof.toml": net_contract() + 'macs = "any"\n'})
    project.write({"attnprof.toml": net_contract() + 'macs = "any"\nparams = "any"\n'})
    difference = project.only()
    assert [breach.term for breach in difference.result.breaches] == ["peak_bytes"]
    (note,) = difference.result.notes
    assert note.endswith("macs was not set, is any; params was not set, is any")


def test_a_contract_with_other_lengths_is_measured_with_them_at_both(project: GitProject) -> None:
    project.write({"attnprof.toml": net_contract().replace("64, 128", "32, 96")})
    difference = project.only()
    assert difference.word == "unchanged"
    assert list(difference.base) == list(difference.head) == [32, 96]


def test_contracts_and_targets_that_one_revision_lacks(project: GitProject) -> None:
    new = net_contract("new", "added:Net") + "max.params = 10\n"
    name = net_contract("name", "net:Wider")
    project.write(
        {
            "attnprof.toml": new + name,
            "added.py": net(16),
            "net.py": net(16) + net(24, "Wider"),
        }
    )
    diff = project.diff()
    words = {each.result.name: each.word for each in diff.differences}
    assert words == {"new": "broken", "name": "new", "net": "removed"}
    notes = {each.result.name: each.result.notes for each in diff.differences}
    assert notes["new"][0].startswith("new: there is no module added at main (")
    assert notes["name"][0].startswith("new: net has no Wider at main (")
    assert notes["net"] == (f"has a contract at {diff.base}, and none at working tree",)


def test_a_target_that_the_head_lacks_is_misconfigured(project: GitProject) -> None:
    (project.folder / "net.py").unlink()
    diff = project.diff()
    assert diff.exit_code == 2
    (result,) = (each.result for each in diff.differences)
    assert result.problem == "target = net:Net: there is no module net at working tree"


def test_a_base_that_cannot_be_measured_is_no_verdict(project: GitProject) -> None:
    broken = project.commit({"net.py": "import no_such_package\n" + net(16)})
    project.write({"net.py": net(16)})
    diff = project.diff(broken)
    assert diff.exit_code == 3
    (result,) = (each.result for each in diff.differences)
    assert result.problem.startswith(f"at {diff.base}: target = net:Net(x=batch,len,8): net cannot")
    assert "No module named 'no_such_package'" in result.problem


def test_a_renamed_module_is_measured_under_its_earlier_name(project: GitProject) -> None:
    project.commit({"pkg/__init__.py": "", "pkg/attention.py": net(16) + "\n# filler" * 20})
    base = project.git("rev-parse", "HEAD")
    shutil.move(project.folder / "pkg", project.folder / "renamed")
    (project.folder / "renamed/attention.py").rename(project.folder / "renamed/attn.py")
    text = (project.folder / "renamed/attn.py").read_text()
    project.write({"renamed/attn.py": text.replace("8, 16", "8, 24")})
    project.write({"attnprof.toml": net_contract(target="renamed.attn:Net")})
    diff = project.diff(base)
    (difference,) = diff.differences
    assert difference.base[64].macs * 24 == difference.head[64].macs * 16
    note = f"renamed.attn:Net was pkg.attention:Net at {diff.base}, where git finds it renamed"
    assert note in difference.result.notes


def test_a_package_in_src_that_is_installed_as_editable(
    project: GitProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"src/pkg/__init__.py": "from pkg._version import version\n", ".gitignore": "_version*"}
    contract = net_contract(target="pkg.attn:Net")
    project.commit({**files, "src/pkg/attn.py": net(16), "attnprof.toml": contract})
    project.write({"src/pkg/_version.py": "version = 1", "src/pkg/attn.py": net(24)})
    monkeypatch.setattr(sys, "path", [str(project.folder / "src"), *sys.path])
    difference = project.only()
    assert difference.base[64].macs * 24 == difference.head[64].macs * 16


def test_a_copy_that_is_installed_is_never_measured_in_silence(
    project: GitProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = net_contract(target="pkg.attn:Net")
    files = {"python/pkg/__init__.py": "", "python/pkg/attn.py": net(16)}
    project.commit({**files, "attnprof.toml": contract})
    packages = tmp_path / "site-packages"
    shutil.copytree(project.folder / "python", packages)
    project.write({"python/pkg/attn.py": net(24)})
    monkeypatch.setattr(sys, "path", [*sys.path, str(packages)])
    diff = project.diff()
    assert diff.exit_code == 3
    assert "pkg is imported from an installed copy" in diff.differences[0].result.problem


def test_a_target_outside_the_repository_is_noted(
    project: GitProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "other_net.py").write_text(net(16))
    monkeypatch.setattr(sys, "path", [*sys.path, str(packages)])
    project.write({"attnprof.toml": net_contract(target="other_net:Net")})
    difference = project.only()
    assert difference.word == "unchanged"
    assert difference.result.notes[-1] == (
        "other_net:Net is part of an installed package, the same at both revisions"
    )


def test_a_base_is_measured_once(project: GitProject, guard_workers: Workers) -> None:
    project.write({"net.py": net(24)})
    counts: list[int] = []
    for _ in range(2):
        workers = CountedWorkers(guard_workers)
        diff = project.diff(workers=workers)  # type: ignore[arg-type]
        assert diff.exit_code == 1
        counts.append(workers.runs)
    assert counts == [2, 1]
    (file,) = (project.folder / ".git" / "attnprof").iterdir()
    file.write_text("{")
    workers = CountedWorkers(guard_workers)
    project.diff(workers=workers)  # type: ignore[arg-type]
    assert workers.runs == 2
    assert "is damaged; the base is measured again" in project.warnings[0]


def test_a_target_in_a_submodule_that_was_not_cloned_says_so(
    project: GitProject, tmp_path: Path, guard_workers: Workers
) -> None:
    library = GitProject(tmp_path / "library", guard_workers)
    library.commit({"part.py": net(16)})
    project.git(
        *("-c", "protocol.file.allow=always", "submodule", "--quiet", "add"),
        str(library.folder),
        "libs",
    )
    project.commit({"net.py": "from libs.part import Net"})
    assert project.diff().exit_code == 0
    git(tmp_path, "clone", "--quiet", str(project.folder), "clone")
    diff = GitProject(tmp_path / "clone", guard_workers).diff("main", "main")
    assert diff.exit_code == 2
    assert diff.notes[0].startswith("libs: this submodule's commit at main")


def test_times_are_those_of_paired_rounds(
    project: GitProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attnprof.guard.paired_timing.MAX_SECONDS", 0.05)
    (difference,) = project.diff(timing=Timing(is_wanted=True)).differences
    assert difference.time is not None
    assert difference.time.seq_len == 128
    assert difference.time.rounds >= 4
    assert f"time {difference.time.outcome}: " in difference.result.facts
    assert difference.result.status == "kept"


def test_a_slower_target_is_a_failure_only_if_asked_for(
    project: GitProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    slower = change_of(128, [100] * 16, [150] * 16)
    monkeypatch.setattr("attnprof.guard.diff.time_revisions", lambda *args: slower)
    codes = [
        project.diff(timing=Timing(is_wanted=True, is_strict=is_strict)).exit_code
        for is_strict in (False, True)
    ]
    assert codes == [0, 1]
