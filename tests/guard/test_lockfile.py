"""The lock file: its format, how it is updated, and errors for a damaged one."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable

import pytest
from guard_contracts import EAGER, SDPA
from guard_project import Project, contract
from hypothesis import given
from hypothesis import strategies as st

from attnprof.guard.contract import ConfigurationError
from attnprof.guard.lockfile import SCHEMA, DamagedError
from attnprof.guard.parts import fold, unfold
from attnprof.isolation.workers import Workers


@given(
    st.dictionaries(
        st.tuples(
            st.sampled_from(["a", "b.0", "l.3.x", "0-9", "01"]),
            st.sampled_from([*map(str, range(12)), "01", "1-2", "2-1", "00", "1_2", "-3"]),
        ),
        st.integers(0, 2),
        max_size=20,
    )
)
def test_folded_layers_are_unfolded_again(parts: dict[tuple[str, str], int]) -> None:
    rows = {f"{module}.{index}.y aten.mm": row for (module, index), row in parts.items()}
    assert unfold(fold(rows)) == rows


def test_consecutive_layers_of_equal_cost_are_one_line() -> None:
    rows = {f"encoder.layer.{i}.key aten.addmm": (1, 2) for i in range(12)}
    rows["encoder.layer.5.key aten.addmm"] = (1, 3)
    assert fold(rows) == {
        "encoder.layer.0..4.key aten.addmm": (1, 2),
        "encoder.layer.5.key aten.addmm": (1, 3),
        "encoder.layer.6..11.key aten.addmm": (1, 2),
    }


def test_the_lock_is_sorted_and_has_integers_one_line_per_cell_and_no_times(
    project: Project,
) -> None:
    project.says(SDPA + EAGER)
    project.init()
    lines = project.lock.read_text().splitlines()
    content = json.loads(project.lock.read_text())
    assert content["schema"] == SCHEMA
    assert list(content["contracts"]) == ["eager", "sdpa"]
    entry = content["contracts"]["sdpa"]
    assert list(entry["cells"]) == ["256", "512"]
    cell = f'"512": {json.dumps(entry["cells"]["512"])}'
    assert sum(line.strip().rstrip(",") == cell for line in lines) == 1
    assert set(entry["versions"]) == {"attnprof", "torch", "transformers"}
    assert list(entry) == [
        *("subject", "versions", "growth", "cells", "macs", "calls", "bytes", "params", "uncounted")
    ]
    costs = [value for key in ("macs", "calls", "bytes", "params") for value in entry[key].values()]
    assert all(type(cost) is int for row in costs for cost in row)
    # Closed forms define the locked costs independently.
    n, d = 512, 768
    assert entry["cells"]["512"]["macs"] == 3 * n * d**2 + 2 * n * n * d
    assert entry["cells"]["512"]["params"] == 3 * (d * d + d)
    assert sum(row[1] for row in entry["bytes"].values()) == entry["cells"]["512"]["peak_bytes"]
    assert sum(row[1] for row in entry["macs"].values()) == entry["cells"]["512"]["macs"]


def test_init_refuses_an_existing_lock_and_check_writes_nothing(project: Project) -> None:
    project.says(SDPA)
    assert project.only().breaches[0].mend == ("attnprof guard init",)
    assert not project.lock.exists()
    project.init()
    before = project.lock.read_bytes()
    with pytest.raises(ConfigurationError, match="already exists; run `attnprof guard update`"):
        project.init()
    assert project.check().exit_code == 0
    assert project.lock.read_bytes() == before


def test_missing_stale_and_orphaned_entries_are_breaches_until_an_update(project: Project) -> None:
    project.says(SDPA)
    project.init()
    project.says(SDPA + EAGER)
    check = project.check()
    assert check.exit_code == 1
    assert [result.status for result in check.results] == ["kept", "broken"]
    assert check.results[1].breaches[0].says == "has no entry in the lock"
    assert check.results[1].breaches[0].mend == ("attnprof guard update eager",)
    assert project.update("eager").exit_code == 0

    project.says(SDPA.replace("512]", "1024]") + EAGER)
    stale = project.only("sdpa")
    assert "is stale: len was [256, 512], is [256, 1024]" in stale.breaches[0].says
    assert stale.breaches[0].mend == ("attnprof guard update sdpa",)

    project.says(EAGER)
    check = project.check()
    assert check.exit_code == 1
    assert [(result.name, result.status) for result in check.results] == [
        ("eager", "kept"),
        ("sdpa", "broken"),
    ]
    assert check.results[1].breaches[0].mend == ("attnprof guard update",)
    assert project.update().differences["sdpa"] == [
        "removed from the lock: no contract has this name"
    ]
    assert project.check().exit_code == 0


def test_another_version_of_torch_is_a_cause_but_no_breach(project: Project) -> None:
    project.says(SDPA)
    project.init()
    text = project.lock.read_text()
    project.lock.write_text(re.sub(r'"torch": "[^"]*"', '"torch": "2.1.0"', text))
    assert project.check().exit_code == 0
    changed = re.sub(r'("512": {"macs": )\d+', r"\g<1>1000", project.lock.read_text())
    project.lock.write_text(changed)
    result = project.only()
    assert any(cause.startswith("locked with torch 2.1.0, measured") for cause in result.causes)


def damage_truncated(text: str) -> str:
    return text[: len(text) // 2]


def damage_conflict(text: str) -> str:
    return "<<<<<<< HEAD\n" + text + "=======\n" + text + ">>>>>>> other\n"


def damage_type(text: str) -> str:
    return text.replace('"256": {"macs": ', '"256": {"macs": "x", "_": ')


def damage_row(text: str) -> str:
    return re.sub(r"\[(\d+), \d+\]", r"[\1]", text)


def damage_length(text: str) -> str:
    return text.replace('"256": {', '"short": {')


def damage_cell(text: str) -> str:
    return re.sub(r'"256": \{"macs".*\},\n\s*', "", text)


def damage_law(text: str) -> str:
    return text.replace('"macs": "quadratic"', '"macs": "bogus"')


def damage_schema(text: str) -> str:
    return text.replace('"schema": 1', '"schema": 0')


def damage_digits(text: str) -> str:
    return re.sub(r'("256": \{"macs": )\d+', r"\g<1>" + "9" * 401, text)


def damage_more_digits_than_python_reads(text: str) -> str:
    return re.sub(r'("256": \{"macs": )\d+', r"\g<1>" + "9" * 5000, text)


def damage_shape(text: str) -> str:
    return "[]"


DAMAGES = [v for k, v in sorted(globals().items()) if k.startswith("damage_")]


@pytest.fixture(scope="module")
def intact_lock(tmp_path_factory: pytest.TempPathFactory, guard_workers: Workers) -> bytes:
    project = Project(tmp_path_factory.mktemp("intact"), guard_workers)
    project.says(SDPA + EAGER)
    project.init()
    return project.lock.read_bytes()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_lock_is_a_one_line_error_and_stays_unchanged(
    project: Project, intact_lock: bytes, damage: Callable[[str], str]
) -> None:
    project.says(SDPA + EAGER)
    project.lock.write_text(damage(intact_lock.decode()))
    before = project.lock.read_bytes()
    assert before != intact_lock
    for attempt in (project.check, lambda: project.update("sdpa")):
        with pytest.raises(DamagedError, match="restore it from version control") as caught:
            attempt()
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)
    assert project.lock.read_bytes() == before


def test_an_update_of_all_replaces_a_damaged_lock(project: Project, intact_lock: bytes) -> None:
    project.says(SDPA + EAGER)
    project.lock.write_bytes(intact_lock[:300])
    project.update()
    assert project.lock.read_bytes() == intact_lock


def test_a_newer_lock_is_never_replaced(project: Project) -> None:
    project.says(SDPA)
    project.init()
    newer = project.lock.read_text().replace('"schema": 1', '"schema": 2')
    project.lock.write_text(newer)
    for attempt in (project.check, project.update):
        with pytest.raises(
            ConfigurationError, match="has schema 2, but this attnprof reads 1; upgrade attnprof"
        ):
            attempt()
    assert project.lock.read_text() == newer


def test_concurrent_updates_lose_no_entry(project: Project) -> None:
    names = [f"k{index}" for index in range(4)]
    project.says("".join(contract(name, "bert-sdpa", [64, 128]) for name in names))
    project.init()
    project.says("".join(contract(name, "bert-sdpa", [64, 192]) for name in names))
    threads = [threading.Thread(target=project.update, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {tuple(entry.cells) for entry in project.entries().values()} == {("64", "192")}
    assert [path.name for path in project.folder.iterdir() if "lock" in path.name] == [
        "attnprof.lock.json"
    ]


def test_an_update_keeps_the_entry_of_a_contract_that_could_not_be_measured(
    project: Project,
) -> None:
    project.has("net", "from torch import nn\n\nNet = lambda: nn.Linear(64, 64)\n")
    mine = contract("mine", "net:Net", [64, 128], 'input = "input=batch,len,64"')
    project.says(SDPA + mine)
    assert project.init().exit_code == 0
    before = project.entries()["mine"]
    project.has("net", "raise RuntimeError('boom')\n")
    outcome = project.update()
    assert outcome.exit_code == 2
    assert [failure.name for failure in outcome.failures] == ["mine"]
    assert project.entries()["mine"] == before
