"""Measuring contracts: failures, unknown growth, uncounted operators and shared locks."""

from __future__ import annotations

from pathlib import Path

import pytest
from guard_contracts import EAGER, SDPA
from guard_project import Project, contract, terms
from timeouts import PATIENCE_SECONDS

from attnprof.guard import check as guard_check
from attnprof.guard import update as guard_update
from attnprof.guard.config import read_configuration
from attnprof.guard.contract import ConfigurationError
from attnprof.guard.measurement import measure
from attnprof.guard.reports import text
from attnprof.isolation.workers import InProcessWorkers

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
    ("problems", "code"),
    [
        (
            {
                "failing:OneLength": "at 128 tokens: ValueError: no 128 really",
                "failing:Refuses": "at 128 tokens: AssertionError: too long",
                "failing:Dies": "killed by SIGABRT",
                "failing:Exits": "at 64 tokens: SystemExit: 0",
            },
            3,
        ),
        (
            {
                "failing:Nothing": "target: failing has no Nothing; choose from",
                "nowhere:Net": "target: nowhere cannot be imported: ModuleNotFoundError",
                "broken:Net": "target: broken cannot be imported: SyntaxError",
            },
            2,
        ),
    ],
    ids=["when it runs", "before it runs"],
)
def test_failing_targets_are_reported_and_the_others_are_checked(
    project: Project, problems: dict[str, str], code: int
) -> None:
    project.says(SDPA)
    project.init()
    project.has("failing", FAILING)
    project.has("broken", "def\n")
    contracts = (
        contract(f"mine{index}", target, [64, 128]) for index, target in enumerate(problems)
    )
    project.says(SDPA + "".join(contracts))
    check = guard_check.check(project.configuration, project.contracts(), project.workers)
    kept, *failed = check.results
    assert kept.status == "kept"
    for result, problem in zip(failed, problems.values(), strict=True):
        assert result.problem.startswith(problem)
        assert "\n" not in result.problem
    assert check.exit_code == code


def test_an_input_that_the_target_does_not_have_is_reported_at_the_contracts_input(
    project: Project,
) -> None:
    project.has("failing", FAILING)
    project.says(contract("mine", "failing:Refuses", [64, 128], 'input = "y=batch,len,64"'))
    check = guard_check.check(project.configuration, project.contracts(), project.workers)
    (result,) = check.results
    assert result.problem == (
        "input = failing:Refuses(y=batch,len,64): has no argument y; choose from x"
    )
    assert check.exit_code == 2


def test_a_target_that_hangs_is_stopped_at_the_timeout(project: Project) -> None:
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


def test_a_required_law_that_cannot_be_determined_is_a_failure_and_no_breach(
    project: Project,
) -> None:
    project.has("net", ONE_LENGTH)
    project.says(contract("mine", "net:Net", [64], 'growth.macs = "linear"'))
    project.init()
    result = project.only()
    assert result.status == "failed"
    assert "growth.macs: cannot be determined from lengths up to 64 tokens" in result.problem


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


def test_budgets_and_laws_are_checked_without_a_lock(project: Project) -> None:
    project.says(
        contract("a", "bert-eager", [256, 512], 'growth.macs = "linear"', 'max.params = "1 M"')
    )
    result = project.only()
    assert terms(result) == ["lock", "growth.macs", "max.params"]
    assert "MACs grow quadratically with length" in result.breaches[1].says


SVD = """
import torch
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        return torch.linalg.svdvals(x)BODY
"""


def test_allowed_uncounted_operators_may_not_become_more(project: Project) -> None:
    lines = ('input = "x=batch,len,64"', 'uncounted = "allow"')
    project.says(contract("mine", "net:Net", [64, 128], *lines))
    project.has("net", SVD.replace("BODY", " + (x @ x.mT).sum()"))
    project.init()
    assert project.entries()["mine"].uncounted == {"aten._linalg_svd": 1}
    assert project.check().exit_code == 0
    project.has("net", SVD.replace("BODY", " + torch.linalg.svdvals(x)"))
    result = project.only()
    assert terms(result) == ["uncounted"]
    assert "aten._linalg_svd (2, was 1)" in result.breaches[0].says
    assert result.notes == ()


def test_uncounted_operators_make_growth_undeterminable(project: Project) -> None:
    lines = ('input = "x=batch,len,64"', 'uncounted = "allow"', 'growth.macs = "linear"')
    project.says(contract("mine", "net:Net", [64, 128], *lines))
    project.has("net", SVD.replace("BODY", ""))
    project.init()
    result = project.only()
    assert result.status == "failed"
    assert (
        "growth.macs: cannot be determined: no MAC formula for aten._linalg_svd;" in result.problem
    )


SHORT = """
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        BODY
"""


def test_a_locked_law_that_can_no_longer_be_determined_is_noted(project: Project) -> None:
    lines = ('input = "x=batch,len,64"', 'macs = "any"', 'peak_bytes = "any"')
    project.says(contract("mine", "net:Net", [64, 128], *lines))
    project.has("net", SHORT.replace("BODY", "return x @ x[0, :64].mT[:, :64]"))
    project.init()
    project.has("net", SHORT.replace("BODY", "assert x.shape[1] <= 128; return x @ x.mT"))
    result = project.only()
    assert any(
        note.startswith("growth of MACs (linear in the lock) can no longer be determined")
        for note in result.notes
    )


def test_a_python_loop_without_operators_ends_the_search_of_longer_lengths(
    project: Project,
) -> None:
    body = "sum(1 for i in range(x.shape[1]) for j in range(x.shape[1])); return x @ x.mT"
    project.has("net", SHORT.replace("BODY", body))
    lines = ('input = "x=batch,len,64"', 'growth.macs = "quadratic"')
    project.says(contract("mine", "net:Net", [64, 128, 256, 512], *lines))
    outcome = project.workers.run(
        measure, project.contracts()[0], project.folder, max_seconds=PATIENCE_SECONDS
    )
    growth = outcome.value.growth["macs"]
    assert str(growth.law) == "quadratic"
    assert 512 <= growth.longest < 2**20


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


def test_the_peak_does_not_depend_on_the_garbage_collector(project: Project) -> None:
    import gc

    project.has("net", CYCLES)
    project.says(contract("mine", "net:Net", [64, 128], 'input = "x=batch,len,64"'))
    project.init()
    assert project.check().exit_code == 0
    before = gc.get_threshold()
    gc.set_threshold(5, 2, 2)
    try:
        check = guard_check.check(project.configuration, project.contracts(), InProcessWorkers())
    finally:
        gc.set_threshold(*before)
    assert check.exit_code == 0, text.render(check)


def test_both_standard_files_share_a_lock_and_a_third_has_its_own(project: Project) -> None:
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


def test_a_misspelt_table_beside_the_contracts_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "attnprof.toml").write_text(SDPA + EAGER.replace("guard", "gaurd"))
    with pytest.raises(ConfigurationError, match="unknown table gaurd; did you mean guard"):
        read_configuration(tmp_path / "attnprof.toml")
    (tmp_path / "attnprof.toml").unlink()
    (tmp_path / "pyproject.toml").write_text(SDPA.replace("[guard", "[tool.attnprof.gaurd"))
    with pytest.raises(ConfigurationError, match="unknown table gaurd; did you mean guard"):
        read_configuration(start=tmp_path)
