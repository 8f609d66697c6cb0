"""Contracts as they are read, the lock as it is written, and what a check comes to."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from guarding import Project, contract, terms
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE_SECONDS

from attnprof.core.errors import MeasurementError
from attnprof.core.growth.laws import GrowthLaw, name_law, parse_law
from attnprof.core.intervals import Interval
from attnprof.guard import check as guard_check
from attnprof.guard import update as guard_update
from attnprof.guard.check import Check
from attnprof.guard.config import read_configuration
from attnprof.guard.contract import ConfigurationError, parse_allowance, parse_budget
from attnprof.guard.lockfile import SCHEMA, DamagedError, read_lock
from attnprof.guard.measurement import Measured, measure
from attnprof.guard.parts import fold, unfold
from attnprof.guard.reports import FORMATS, github, text
from attnprof.guard.results import Breach, Result, Step
from attnprof.guard.timing import TimeRatio, confirmed_time_ratio, time_against_reference
from attnprof.isolation.workers import InProcessWorkers, Workers
from attnprof.measure import worker_tasks

ATTNPROF = str(Path(sys.executable).parent / "attnprof")
SDPA = contract("sdpa", "bert-sdpa", [256, 512])
MASKED = contract("masked", "longformer-masked", [256, 512])
"""Without transformers, whose import takes seconds."""
EAGER = contract("eager", "bert-eager", [256, 512])


def attnprof(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ATTNPROF, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        cwd=cwd,
        env={**os.environ, **environment},
    )


# --- laws and limits ------------------------------------------------------------------------------


def test_laws_are_ordered_by_how_fast_they_grow() -> None:
    words = ["constant", "n^0.5", "linear", "n log n", "n log² n", "n^1.2", "n sqrt n", "quadratic"]
    laws = [parse_law(word) for word in words]
    assert laws == sorted(laws)
    assert len(set(laws)) == len(laws)
    for shorter, longer in itertools.pairwise(laws):
        assert longer.allows(shorter, 2**20)
        assert not shorter.allows(longer, 2**20)


@pytest.mark.parametrize(
    "word", ["constant", "linear", "n log n", "n sqrt n", "quadratic", "n^1.5"]
)
def test_a_law_is_written_as_it_is_read(word: str) -> None:
    assert parse_law(str(parse_law(word))) == parse_law(word)


def test_laws_that_growth_names_are_laws_here() -> None:
    costs = {
        "n": lambda n: 7 * n + 3,
        "n·log n": lambda n: n * n.bit_length() * 5 + 9 * n,
        "n·sqrt n": lambda n: int(n**1.5) + 11 * n,
        "n²": lambda n: n * n + 100 * n,
    }
    for name, cost in costs.items():
        law = name_law([(2**k, cost(2**k)) for k in range(8, 21)])
        assert law.name == name
        assert parse_law(law.name) == parse_law(name.replace("n²", "quadratic"))


@pytest.mark.parametrize("word", ["cubicish", "n^", "n^x", "n^-1", "n^99", "log", "n log"])
def test_what_is_no_law_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(word)):
        parse_law(word)


def test_an_unnamed_exponent_may_be_as_near_as_blocks_move_it() -> None:
    assert parse_law("n^1.5").allows(GrowthLaw(1.52), 2**20)
    assert not parse_law("n^1.5").allows(GrowthLaw(1.54), 2**20)
    assert not parse_law("linear").allows(parse_law("n log n"), 2**20)
    # n log n looks like a power a little above 1 at any length.
    assert parse_law("n log n").allows(GrowthLaw(1.07), 2**20)
    assert not parse_law("n log n").allows(GrowthLaw(1.12), 2**20)


def test_allowances_are_exact() -> None:
    one_percent = parse_allowance("+1%")
    assert one_percent.admits(1000, 1010)
    assert not one_percent.admits(1000, 1011)
    assert one_percent.admits(1000, 1)
    assert not parse_allowance("±1%").admits(1000, 989)
    assert parse_allowance("±1%").admits(1000, 990)
    assert parse_allowance("+0.1%").part == Fraction(1, 1000)
    assert not parse_allowance("+0%").admits(10**18, 10**18 + 1)
    assert parse_allowance("any").admits(1, 10**9)
    assert not parse_allowance("+1%").admits(0, 1)


@pytest.mark.parametrize("word", ["1%", "-1%", "+1", "1", "+x%", "+ %"])
def test_what_is_no_allowance_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(word)):
        parse_allowance(word)


def test_budgets_have_the_units_of_their_quantity() -> None:
    assert parse_budget("peak_bytes", "512 MiB") == 512 * 2**20
    assert parse_budget("peak_bytes", "1.5 GB") == 1_500_000_000
    assert parse_budget("peak_bytes", 1024) == 1024
    assert parse_budget("macs", "3 GMac") == parse_budget("macs", "3GMACs") == 3 * 10**9
    assert parse_budget("params", "110 M") == parse_budget("params", "110 MParams") == 110 * 10**6
    for quantity, wrong in (
        ("peak_bytes", "512"),
        ("peak_bytes", "3 GMac"),
        ("macs", "3 MiB"),
        ("macs", "0 GMac"),
        ("macs", True),
        ("macs", 1.5),
        ("params", -1),
    ):
        with pytest.raises(ValueError, match=re.escape(str(wrong)) if wrong != "512" else "512"):
            parse_budget(quantity, wrong)  # pyright: ignore[reportArgumentType]


# --- contracts ------------------------------------------------------------------------------------


def test_a_contract_of_the_issue_is_read_from_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\n\n[tool.attnprof.guard.encoder]\ntarget = "mypkg.attn:build"\n'
        "len = [1024, 2048, 4096, 8192]\n"
        'growth.macs = "linear"\ngrowth.peak_bytes = "n log n"\n'
        'macs = "+0%"\npeak_bytes = "+1%"\nmax.peak_bytes = "512 MiB"\n'
        'time = { reference = "bert-sdpa", at = 4096, max = 0.6 }\nuncounted = "forbid"\n'
    )
    configuration = read_configuration(start=tmp_path)
    (read,) = configuration.contracts.values()
    assert configuration.lock_path == tmp_path / "attnprof.lock.json"
    assert (read.name, read.line, read.target) == ("encoder", 4, "mypkg.attn:build")
    assert read.lengths == (1024, 2048, 4096, 8192)
    assert str(read.growth["macs"]) == "linear"
    assert str(read.growth["peak_bytes"]) == "n log n"
    assert read.budgets == {"peak_bytes": 512 * 2**20}
    assert read.time is not None
    assert (read.time.reference, read.time.at, read.time.max) == ("bert-sdpa", 4096, 0.6)
    assert read.forbids_uncounted


def test_contracts_are_found_from_a_folder_below_and_both_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "attnprof.toml").write_text(SDPA)
    (tmp_path / "pyproject.toml").write_text(EAGER.replace("[guard", "[tool.attnprof.guard"))
    below = tmp_path / "src" / "pkg"
    below.mkdir(parents=True)
    (below / "pyproject.toml").write_text("[project]\nname = 'without'\n")
    configuration = read_configuration(start=below)
    assert configuration.folder == tmp_path
    assert set(configuration.contracts) == {"sdpa", "eager"}


WRONG = {
    'growth.macs = "cubicish"': r":4: guard.a.growth.macs = 'cubicish': constant, linear",
    'growth.params = "linear"': r":4: guard.a.growth.params: there is no such key",
    'growth = "linear"': r":4: guard.a.growth = 'linear': a law for each quantity",
    'growht.macs = "linear"': r":4: guard.a.growht: .*did you mean growth\?",
    'macs = "1%"': r""":4: guard.a.macs = '1%': "\+1%", "±0%" """.strip(),
    "macs = 3": r":4: guard.a.macs = 3: ",
    'max.peak_bytes = "512 MB/s"': r":4: guard.a.max.peak_bytes = .*\"512 MiB\"",
    "max.macs = -1": r":4: guard.a.max.macs = -1: .*\"3 GMac\"",
    'time = { reference = "bert-sdpa" }': r":4: guard.a.time.at: a length in tokens",
    'time = { reference = "bert-sdpb", at = 512, max = 1 }': r"time.reference .*mean bert-sdpa",
    'time = { reference = "bert-sdpa", at = 512, max = 0 }': r"time.max = 0: a ratio above 0",
    'uncounted = "maybe"': r":4: guard.a.uncounted = 'maybe': \"forbid\" or \"allow\"",
    'device = "cuda"': r":4: guard.a.device = 'cuda': contracts are counted without one",
    "window = [1, 2]": r":4: guard.a.window = \[1, 2\]: one value",
    'window = "7"': r":4: guard.a.window = '7': an even number of keys",
    'dtype = "float31"': r":4: guard.a.dtype = 'float31': did you mean float32\?",
    'input = "x=batch,len"': r":4: guard.a.input = .*only what is your own takes inputs",
    'hf = "x.json"': r":2: guard.a.target: name what is measured.*one of the two",
}


@pytest.mark.parametrize(("line", "expected"), WRONG.items(), ids=WRONG.keys())
def test_what_is_wrong_is_told_in_a_line_with_file_and_key(
    tmp_path: Path, line: str, expected: str
) -> None:
    path = tmp_path / "attnprof.toml"
    path.write_text(contract("a", "longformer-banded", [512], line))
    with pytest.raises(ConfigurationError, match=expected) as caught:
        read_configuration(path)
    assert str(caught.value).startswith(f"{path}:")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (SDPA + SDPA, "twice"),
        ("", "no contract: write one"),
        ("guard = 3", "guard is no table"),
        ("[guard.a", "is no TOML"),
        ("[guard.a]\nlen = [256]\n", "guard.a.target: name what is measured"),
        ('[guard.a]\ntarget = "bert-sdpa"\n', "guard.a.len: lengths in tokens"),
        ('[guard.a]\ntarget = "bert-sdpa"\nlen = [true]\n', "guard.a.len = True: lengths"),
        ('[guard.a]\ntarget = "bert-sdpa"\nlen = "1k:2"\n', "guard.a.len = '1k:2'"),
        ('[guard.a]\ntarget = "bert-sdpb"\nlen = 256\n', "did you mean bert-sdpa"),
        ('[guard.a]\nhf = "no.json"\nlen = 256\n', "guard.a.hf = 'no.json': there is no"),
        ('[guard."a b"]\ntarget = "bert-sdpa"\nlen = 256\n', "a name is made of letters"),
        ("[guard]\na = 3\n", "a contract is a table"),
    ],
)
def test_files_without_a_contract_to_use(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "attnprof.toml"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=expected):
        read_configuration(path)


def test_a_name_in_two_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "attnprof.toml").write_text(SDPA)
    (tmp_path / "pyproject.toml").write_text(SDPA.replace("[guard", "[tool.attnprof.guard"))
    with pytest.raises(ConfigurationError, match=r"one of this name in .*attnprof\.toml already"):
        read_configuration(start=tmp_path)


# --- the lock -------------------------------------------------------------------------------------


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
    rows = {f"{place}.{index}.y aten.mm": row for (place, index), row in parts.items()}
    assert unfold(fold(rows)) == rows


def test_layers_alike_are_one_line() -> None:
    rows = {f"encoder.layer.{i}.key aten.addmm": (1, 2) for i in range(12)}
    rows["encoder.layer.5.key aten.addmm"] = (1, 3)
    assert fold(rows) == {
        "encoder.layer.0..4.key aten.addmm": (1, 2),
        "encoder.layer.5.key aten.addmm": (1, 3),
        "encoder.layer.6..11.key aten.addmm": (1, 2),
    }


def test_the_lock_is_sorted_integers_a_line_for_each_cell_and_no_times(project: Project) -> None:
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
    # Closed forms are another definition of what is locked.
    n, d = 512, 768
    assert entry["cells"]["512"]["macs"] == 3 * n * d**2 + 2 * n * n * d
    assert entry["cells"]["512"]["params"] == 3 * (d * d + d)
    assert sum(row[1] for row in entry["bytes"].values()) == entry["cells"]["512"]["peak_bytes"]
    assert sum(row[1] for row in entry["macs"].values()) == entry["cells"]["512"]["macs"]


def test_init_refuses_a_lock_that_is_there_and_check_writes_nothing(project: Project) -> None:
    project.says(SDPA)
    assert project.only().breaches[0].mend == ("attnprof guard init",)
    assert not project.lock.exists()
    project.init()
    before = project.lock.read_bytes()
    with pytest.raises(ConfigurationError, match="there is a lock already"):
        project.init()
    assert project.check().exit_code == 0
    assert project.lock.read_bytes() == before


def test_missing_stale_and_orphaned_entries_are_broken_and_mended(project: Project) -> None:
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
    assert project.update().differences["sdpa"] == ["left out: there is no such contract"]
    assert project.check().exit_code == 0


def test_another_version_explains_and_breaks_nothing(project: Project) -> None:
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
def whole_lock(tmp_path_factory: pytest.TempPathFactory, guard_workers: Workers) -> bytes:
    project = Project(tmp_path_factory.mktemp("whole"), guard_workers)
    project.says(SDPA + EAGER)
    project.init()
    return project.lock.read_bytes()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_lock_is_told_in_a_line_and_left_as_it_is(
    project: Project, whole_lock: bytes, damage: Callable[[str], str]
) -> None:
    project.says(SDPA + EAGER)
    project.lock.write_text(damage(whole_lock.decode()))
    before = project.lock.read_bytes()
    assert before != whole_lock
    for attempt in (project.check, lambda: project.update("sdpa")):
        with pytest.raises(DamagedError, match="restore it from version control") as caught:
            attempt()
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)
    assert project.lock.read_bytes() == before


def test_an_update_of_all_replaces_a_damaged_lock(project: Project, whole_lock: bytes) -> None:
    project.says(SDPA + EAGER)
    project.lock.write_bytes(whole_lock[:300])
    project.update()
    assert project.lock.read_bytes() == whole_lock


def test_a_newer_lock_is_never_replaced(project: Project) -> None:
    project.says(SDPA)
    project.init()
    newer = project.lock.read_text().replace('"schema": 1', '"schema": 2')
    project.lock.write_text(newer)
    for attempt in (project.check, project.update):
        with pytest.raises(ConfigurationError, match="is of schema 2, this attnprof reads 1"):
            attempt()
    assert project.lock.read_text() == newer


def test_concurrent_updates_lose_nothing(project: Project) -> None:
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


def test_an_update_keeps_what_could_not_be_measured(project: Project) -> None:
    project.has("net", "from torch import nn\n\nNet = lambda: nn.Linear(64, 64)\n")
    mine = contract("mine", "net:Net", [64, 128], 'input = "input=batch,len,64"')
    project.says(SDPA + mine)
    assert project.init().exit_code == 0
    before = project.entries()["mine"]
    project.has("net", "raise RuntimeError('boom')\n")
    done = project.update()
    assert done.exit_code == 2
    assert [failure.name for failure in done.failures] == ["mine"]
    assert project.entries()["mine"] == before


# --- what cannot be measured ----------------------------------------------------------------------

FAILING = """
import os
import torch
from torch import nn


class OneLength(nn.Module):
    def forward(self, x):
        if x.shape[1] == 128:
            raise ValueError("no 128\\nreally")
        return x


class Refuses(nn.Module):
    def forward(self, x):
        assert x.shape[1] <= 64, "too long"
        return x


class Dies(nn.Module):
    def forward(self, x):
        os.abort()


class Exits(nn.Module):
    def forward(self, x):
        raise SystemExit(0)


class Hangs(nn.Module):
    def forward(self, x):
        while True:
            pass
"""


@pytest.mark.parametrize(
    ("target", "problem", "code"),
    [
        ("failing:OneLength", "at 128 tokens: ValueError: no 128 really", 3),
        ("failing:Refuses", "at 128 tokens: AssertionError: too long", 3),
        ("failing:Dies", "killed by SIGABRT", 3),
        ("failing:Exits", "at 64 tokens: SystemExit: 0", 3),
        ("failing:Nothing", "target: failing has no Nothing; choose from", 2),
        ("nowhere:Net", "target: nowhere cannot be imported: ModuleNotFoundError", 2),
        ("broken:Net", "target: broken cannot be imported: SyntaxError", 2),
    ],
)
def test_a_target_that_fails_is_told_and_the_others_are_checked(
    project: Project, target: str, problem: str, code: int
) -> None:
    project.says(SDPA)
    project.init()
    project.has("failing", FAILING)
    project.has("broken", "def\n")
    project.says(SDPA + contract("mine", target, [64, 128]))
    check = guard_check.check(project.configuration, project.contracts(), project.workers)
    kept, failed = check.results
    assert kept.status == "kept"
    assert failed.problem.startswith(problem)
    assert "\n" not in failed.problem
    assert check.exit_code == code


def test_a_target_that_hangs_is_given_up(project: Project) -> None:
    project.has("failing", FAILING)
    project.says(contract("mine", "failing:Hangs", [64, 128]))
    check = guard_check.check(
        project.configuration, project.contracts(), project.workers, timeout=1
    )
    assert [result.problem for result in check.results] == ["took more than 1 s"]
    assert check.exit_code == 3


ONE_LENGTH = """
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        assert x.shape[1] == 64
        return x @ x.mT
"""


def test_a_law_that_cannot_be_told_is_no_verdict(project: Project) -> None:
    project.has("net", ONE_LENGTH)
    project.says(contract("mine", "net:Net", [64], 'growth.macs = "linear"'))
    project.init()
    result = project.only()
    assert result.status == "failed"
    assert "no law can be told from lengths up to 64 tokens" in result.problem


def test_operators_without_a_formula_are_forbidden_unless_allowed(project: Project) -> None:
    project.has(
        "net",
        "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    def forward(self, x):\n"
        "        return torch.linalg.svdvals(x)\n",
    )
    mine = contract("mine", "net:Net", [64, 128], 'input = "x=batch,len,64"')
    project.says(mine)
    lines = project.init().differences["mine"]
    assert any(line.startswith("no MAC formula for aten._linalg_svd (1)") for line in lines)
    result = project.only()
    assert terms(result) == ["uncounted"]
    assert "aten._linalg_svd (1)" in result.breaches[0].says
    project.says(mine + 'uncounted = "allow"\n')
    assert project.check().exit_code == 0


def test_budgets_and_laws_hold_without_a_lock(project: Project) -> None:
    project.says(
        contract("a", "bert-eager", [256, 512], 'growth.macs = "linear"', 'max.params = "1 M"')
    )
    result = project.only()
    assert terms(result) == ["lock", "growth.macs", "max.params"]
    assert "MACs are quadratic in the length" in result.breaches[1].says


SVD = """
import torch
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        return torch.linalg.svdvals(x)BODY
"""


def test_where_uncounted_operators_are_allowed_more_of_them_are_not(project: Project) -> None:
    lines = ('input = "x=batch,len,64"', 'uncounted = "allow"')
    project.says(contract("mine", "net:Net", [64, 128], *lines))
    project.has("net", SVD.replace("BODY", " + (x @ x.mT).sum()"))
    project.init()
    assert project.entries()["mine"].uncounted == {"aten._linalg_svd": 1}
    assert project.check().exit_code == 0
    project.has("net", SVD.replace("BODY", " + torch.linalg.svdvals(x)"))
    result = project.only()
    assert terms(result) == ["uncounted"]
    assert "aten._linalg_svd (2, 1 before)" in result.breaches[0].says
    assert result.notes == ()


def test_no_law_is_told_of_what_is_not_counted(project: Project) -> None:
    lines = ('input = "x=batch,len,64"', 'uncounted = "allow"', 'growth.macs = "linear"')
    project.says(contract("mine", "net:Net", [64, 128], *lines))
    project.has("net", SVD.replace("BODY", ""))
    project.init()
    result = project.only()
    assert result.status == "failed"
    assert "no law can be told of aten._linalg_svd" in result.problem


SHORT = """
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        BODY
"""


def test_a_locked_law_that_can_no_longer_be_told_is_told(project: Project) -> None:
    lines = ('input = "x=batch,len,64"', 'macs = "any"', 'peak_bytes = "any"')
    project.says(contract("mine", "net:Net", [64, 128], *lines))
    project.has("net", SHORT.replace("BODY", "return x @ x[0, :64].mT[:, :64]"))
    project.init()
    project.has("net", SHORT.replace("BODY", "assert x.shape[1] <= 128; return x @ x.mT"))
    result = project.only()
    assert any("the law of its MACs, linear as locked, can no longer" in n for n in result.notes)


def test_a_loop_without_operators_ends_what_is_looked_at(project: Project) -> None:
    body = "sum(1 for i in range(x.shape[1]) for j in range(x.shape[1])); return x @ x.mT"
    project.has("net", SHORT.replace("BODY", body))
    lines = ('input = "x=batch,len,64"', 'growth.macs = "quadratic"')
    project.says(contract("mine", "net:Net", [64, 128, 256, 512], *lines))
    outcome = project.workers.run(
        measure, project.contracts()[0], project.folder, max_seconds=PATIENCE_SECONDS
    )
    seen = outcome.value.growth["macs"]
    assert str(seen.law) == "quadratic"
    assert 512 <= seen.longest < 2**20


CYCLES = """
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(40))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
            held = type("Held", (), {})()
            held.me, held.x = held, x
        return x
"""


def test_the_peak_is_the_same_whatever_the_garbage_collector_does(project: Project) -> None:
    import gc

    project.has("net", CYCLES)
    project.says(contract("mine", "net:Net", [64, 128], 'input = "x=batch,len,64"'))
    project.init()
    assert project.check().exit_code == 0
    before = gc.get_threshold()
    gc.set_threshold(5, 2, 2)
    try:
        here = guard_check.check(project.configuration, project.contracts(), InProcessWorkers())
    finally:
        gc.set_threshold(*before)
    assert here.exit_code == 0, text.render(here)


def test_two_files_share_a_lock_and_a_third_has_its_own(project: Project) -> None:
    project.says(SDPA)
    (project.folder / "pyproject.toml").write_text(EAGER.replace("[guard", "[tool.attnprof.guard"))
    project.init()
    assert set(project.entries()) == {"eager", "sdpa"}
    assert [result.name for result in project.check().results] == ["sdpa", "eager"]
    project.update()
    assert set(project.entries()) == {"eager", "sdpa"}
    other = project.folder / "nightly.toml"
    other.write_text(contract("other", "bert-sdpa", [64]))
    configuration = read_configuration(other)
    assert configuration.lock_path == project.folder / "nightly.lock.json"
    guard_update.init(configuration, configuration.chosen(()), project.workers)
    assert set(project.entries()) == {"eager", "sdpa"}


def test_what_is_misspelt_beside_the_contracts_is_told(tmp_path: Path) -> None:
    (tmp_path / "attnprof.toml").write_text(SDPA + EAGER.replace("guard", "gaurd"))
    with pytest.raises(ConfigurationError, match="no table gaurd; did you mean guard"):
        read_configuration(tmp_path / "attnprof.toml")
    (tmp_path / "attnprof.toml").unlink()
    (tmp_path / "pyproject.toml").write_text(SDPA.replace("[guard", "[tool.attnprof.gaurd"))
    with pytest.raises(ConfigurationError, match="no table gaurd; did you mean guard"):
        read_configuration(start=tmp_path)


# --- the same everywhere --------------------------------------------------------------------------


def test_threads_and_instructions_of_the_cpu_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from attnprof.core import cpu
    from attnprof.guard.cases import case_of
    from attnprof.guard.measurement import measure_contract

    def cells(threads: int, flags: frozenset[str]) -> Measured:
        monkeypatch.setattr(cpu, "_cpu_flags", lambda: flags)
        torch.set_num_threads(threads)
        return measure_contract(case_of("bert-sdpa", 256, {"dtype": "bfloat16"}), (256, 512))

    before = torch.get_num_threads()
    try:
        assert cells(1, frozenset()).cells == cells(2, frozenset({"amx_bf16"})).cells
    finally:
        torch.set_num_threads(before)


def test_measuring_leaves_random_numbers_as_they_were() -> None:
    import random

    import numpy as np
    import torch

    import attnprof

    def drawn() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    expected = drawn()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    attnprof.assert_growth("bert-sdpa", [64, 128], macs="quadratic")
    assert drawn() == expected


def test_without_processes_of_its_own_it_says_the_same(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.says(SDPA)
    project.init()
    monkeypatch.chdir(Path(__file__).parent)
    check = guard_check.check(project.configuration, project.contracts(), InProcessWorkers())
    assert check.exit_code == 0
    assert Path.cwd() == Path(__file__).parent


def test_a_folder_of_its_own_is_where_targets_are_found(project: Project) -> None:
    project.says(contract("mine", "net:Net", [64], 'input = "x=batch,len,64"'))
    project.has("net", "from torch import nn\n\n\nclass Net(nn.Identity):\n"
                "    def forward(self, x):\n        return x + 1\n")  # fmt: skip
    outcome = project.workers.run(
        measure, project.contracts()[0], project.folder, max_seconds=PATIENCE_SECONDS
    )
    assert outcome.value.problem == ""


# --- time -----------------------------------------------------------------------------------------


def raced(low: float, middle: float, high: float) -> TimeRatio:
    return TimeRatio(Interval(middle, low, high), 8)


def test_a_time_is_broken_or_kept_by_the_whole_interval() -> None:
    assert raced(0.5, 0.55, 0.59).outcome(0.6) == "kept"
    assert raced(0.61, 0.7, 0.8).outcome(0.6) == "broken"
    assert raced(0.5, 0.55, 0.61).outcome(0.6) == "undecided"


@pytest.mark.usefixtures("undisturbed")
def test_time_is_a_ratio_within_one_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        guard_check,
        "confirmed_time_ratio",
        lambda one, folder, _, timeout: confirmed_time_ratio(
            one, folder, InProcessWorkers(), timeout
        ),
    )
    slow = contract(
        "slow",
        "bert-eager",
        [64, 128],
        'time = { reference = "bert-sdpa", at = 256, max = 0.01 }',
    )
    fast = contract(
        "fast", "bert-sdpa", [64, 128], 'time = { reference = "bert-sdpa", at = 256, max = 50 }'
    )
    project.says(slow + fast)
    project.init()
    broken, kept = project.check().results
    assert terms(broken) == ["time"]
    assert re.search(r"takes \S+ of bert-sdpa's time at 256 tokens \(.* rounds\), twice seen",
                     broken.breaches[0].says)  # fmt: skip
    assert kept.status == "kept"
    assert "of bert-sdpa's time at 256 tokens" in kept.facts
    untimed = guard_check.check(
        project.configuration, project.contracts(), project.workers, with_time=False
    )
    assert untimed.exit_code == 0


def test_a_kernel_whose_output_is_wrong_is_not_raced(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)  # where a race goes, and stays
    monkeypatch.setattr(worker_tasks, "wrong_output", lambda case: f"{case.kernel} is off by one")
    time = 'time = { reference = "bert-sdpa", at = 256, max = 50 }'
    project.says(contract("one", "bert-eager", [64, 128], time))
    (one,) = project.contracts()
    with pytest.raises(MeasurementError, match="the target is wrong: bert-eager is off by one"):
        time_against_reference(one, project.folder)


def test_an_undecided_time_warns_and_fails_when_strict(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = 'time = { reference = "bert-sdpa", at = 256, max = 1 }'
    project.says(contract("near", "bert-sdpa", [64, 128], time))
    project.init()
    monkeypatch.setattr(guard_check, "confirmed_time_ratio", lambda *_: raced(0.9, 1.0, 1.1))
    (result,) = project.check().results
    assert result.status == "undecided"
    (note,) = result.notes
    assert note == (
        "time is undecided: 1.00 of bert-sdpa's time at 256 tokens (0.90 to 1.10, 8 rounds), "
        "too near to 1 to tell"
    )
    assert project.check().exit_code == 0
    assert project.check(is_strict=True).exit_code == 1


def test_a_time_that_cannot_be_measured_now_is_undecided_and_says_why(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "not measurable now: other processes used 1.0 of 2 cores; close them"
    one = replace(raced(2.0, 2.1, 2.2), withheld=why)
    assert one.outcome(1.0) == "undecided"
    time = 'time = { reference = "bert-sdpa", at = 256, max = 1 }'
    project.says(contract("near", "bert-sdpa", [64, 128], time))
    project.init()
    monkeypatch.setattr(guard_check, "confirmed_time_ratio", lambda *_: one)
    (result,) = project.check().results
    assert (result.status, result.notes) == ("undecided", (f"time is undecided: {why}",))


# --- reports --------------------------------------------------------------------------------------


def broken(index: int = 0, file: str = "pyproject.toml") -> Result:
    breach = Breach(
        "macs",
        "MACs rose at every length, by up to 50 %",
        "macs",
        "+0%",
        (Step(512, 1000, 1500),),
        ("layer.0-11.key aten.addmm: 0 Mac → 500 Mac",),
        ("attnprof guard update a",),
    )
    return Result(f"a{index}", file, 7, (breach,), ("a cause\nin two lines, 100%",))


EVERY = (
    broken(),
    Result("kept", "pyproject.toml", 3, facts="MACs linear"),
    Result("better", "pyproject.toml", 4, notes=("MACs fell by up to 5 %",)),
    Result("near", "pyproject.toml", 5, notes=("time is undecided",), is_undecided=True),
    Result("wrong", "pyproject.toml", 6, problem="target: no", is_misconfigured=True),
    Result("failed", "pyproject.toml", 8, problem="at 512 tokens: ValueError: <no> & \x00"),
)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_names_every_contract_that_is_not_kept(name: str) -> None:
    said = FORMATS[name](Check(EVERY))
    for result in EVERY:
        if result.status != "kept" or result.notes:
            assert result.name in said
    assert "attnprof guard update a" in said
    assert "layer.0-11.key" in said


def test_text_fits_its_width_and_aligns() -> None:
    said = text.render(Check(EVERY, seconds=1.25), width=60)
    assert max(map(len, said.splitlines())) <= 60
    assert "    512 tokens   1.000 KMac → 1.500 KMac   +50 %" in said.splitlines()
    assert " ".join(said.split()).endswith(
        "6 contracts: 1 broken, 1 misconfigured, 1 not measured, 1 undecided, 2 kept, in 1.2 s"
    )


def test_json_is_read_back() -> None:
    content = json.loads(FORMATS["json"](Check(EVERY)))
    assert content["exit_code"] == 1
    assert [c["status"] for c in content["contracts"]] == [
        *("broken", "kept", "kept", "undecided", "misconfigured", "failed")
    ]
    assert content["contracts"][0]["breaches"][0]["steps"] == [
        {"seq_len": 512, "was": 1000, "now": 1500}
    ]


def test_junit_counts_failures_and_errors_and_is_xml() -> None:
    root = ET.fromstring(FORMATS["junit"](Check(EVERY)))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("6", "1", "2")
    strict = ET.fromstring(FORMATS["junit"](Check(EVERY, is_strict=True)))
    assert strict[0].get("failures") == "2"
    assert [case.get("name") for case in suite] == [result.name for result in EVERY]


def test_github_escapes_and_shows_nine_and_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    (first, *_) = github.render(Check(EVERY)).splitlines()
    assert first.startswith(
        "::error file=pyproject.toml,line=7,title=attnprof guard%3A a0::MACs rose"
    )
    assert "%0Alikely: a cause%0Ain two lines, 100%25%0A" in first
    many = Check(tuple(broken(index) for index in range(30)))
    lines = github.render(many).splitlines()
    assert len(lines) == 10
    assert lines[-1] == "::error title=attnprof guard::21 more: see the log"
    exactly = github.render(Check(tuple(broken(index) for index in range(9)))).splitlines()
    assert len(exactly) == 9
    odd = github.render(Check((broken(file="a,b:c%.toml"),)))
    assert "file=a%2Cb%3Ac%25.toml,line" in odd


def test_github_names_files_from_the_root_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    assert "file=sub/pyproject.toml," in github.render(Check((broken(),)))


def test_markdown_escapes_what_it_would_take_for_its_own() -> None:
    name = "layer_norm_x*y|z<b>"
    said = FORMATS["markdown"](Check((Result(name, "a.toml", 1, facts="x"),)))
    assert r"layer\_norm\_x\*y\|z\<b\>" in said


# --- the command line -----------------------------------------------------------------------------


def test_the_command_line_inits_checks_and_updates(tmp_path: Path) -> None:
    (tmp_path / "attnprof.toml").write_text(MASKED)
    done = attnprof("guard", "init", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (
        0,
        "masked: new: 2 lengths, MACs quadratic, peak bytes quadratic\n",
    )
    lock = tmp_path / "attnprof.lock.json"
    lock.write_text(re.sub(r'("512": {"macs": )\d+', r"\g<1>1000", lock.read_text()))
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    done = attnprof(
        *("guard", "check", "--format", "json"),
        cwd=tmp_path,
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(summary),
        GITHUB_WORKSPACE=str(tmp_path),
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["contracts"][0]["status"] == "broken"
    assert done.stderr.startswith("::error file=attnprof.toml,line=1,title=")
    assert summary.read_text().startswith("before\n### attnprof guard: 1 contract: 1 broken")
    done = attnprof("guard", "update", "masked", cwd=tmp_path)
    assert done.returncode == 0
    assert "MACs at 512 tokens: 1.000 KMac → 1.914 GMac" in done.stdout
    assert attnprof("guard", "check", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("check",), "no contract: write one"),
        (("check", "--config", "no.toml"), "no.toml: there is no such file"),
        (("check", "--format", "xml"), "--format xml: choose from"),
        (("chek",), "No such command 'chek'"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    done = attnprof("guard", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_reader_that_has_seen_enough_changes_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "attnprof.toml").write_text(MASKED)
    command = f"{ATTNPROF} guard check | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, check=False, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 1


WAITING = """
import pathlib
import time
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        pathlib.Path("begun").touch()
        time.sleep(1000)
"""


def test_an_interrupted_check_waits_for_nobody(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(WAITING)
    (tmp_path / "attnprof.toml").write_text(
        "".join(contract(f"waits{index}", "net:Net", [64]) for index in range(5))
    )
    with subprocess.Popen(
        [ATTNPROF, "guard", "check"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not (tmp_path / "begun").exists():
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=guard_check.DEFAULT_TIMEOUT_S / 2)
    assert process.returncode == 130
    assert said == "attnprof: interrupted; nothing was written\n"


def test_a_summary_that_cannot_be_written_changes_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "attnprof.toml").write_text(MASKED)
    done = attnprof(
        *("guard", "check"),
        cwd=tmp_path,
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(tmp_path / "no" / "summary.md"),
    )
    assert done.returncode == 1
    assert "summary.md: the summary could not be written" in done.stderr


def test_reading_the_contracts_loads_no_torch(tmp_path: Path) -> None:
    (tmp_path / "attnprof.toml").write_text(SDPA)
    code = (
        "import sys\nfrom attnprof.guard.config import read_configuration\n"
        "import attnprof.guard.check, attnprof.pytest_plugin\n"
        "read_configuration()\nprint('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout == "False\n"


def test_read_lock_of_no_file(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "attnprof.lock.json") is None
