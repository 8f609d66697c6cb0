"""Measurements are the same on every machine, in every process and in every folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from guard_contracts import SDPA
from guard_project import Project, contract
from timeouts import PATIENCE_SECONDS

from attnprof.guard import check as guard_check
from attnprof.guard.measurement import ContractCosts, measure
from attnprof.isolation.workers import InProcessWorkers


def test_costs_do_not_depend_on_threads_or_cpu_instructions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from attnprof.core import cpu
    from attnprof.guard.cases import case_of
    from attnprof.guard.measurement import measure_contract

    def cells(threads: int, flags: frozenset[str]) -> ContractCosts:
        monkeypatch.setattr(cpu, "_cpu_flags", lambda: flags)
        torch.set_num_threads(threads)
        return measure_contract(case_of("bert-sdpa", 256, {"dtype": "bfloat16"}), (256, 512))

    before = torch.get_num_threads()
    try:
        assert cells(1, frozenset()).cells == cells(2, frozenset({"amx_bf16"})).cells
    finally:
        torch.set_num_threads(before)


def test_measuring_leaves_the_random_state_unchanged() -> None:
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


def test_the_verdict_is_the_same_without_worker_processes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.says(SDPA)
    project.init()
    monkeypatch.chdir(Path(__file__).parent)
    check = guard_check.check(project.configuration, project.contracts(), InProcessWorkers())
    assert check.exit_code == 0
    assert Path.cwd() == Path(__file__).parent


def test_targets_are_found_in_the_folder_of_the_contracts(project: Project) -> None:
    project.says(contract("mine", "net:Net", [64], 'input = "x=batch,len,64"'))
    project.has("net", "from torch import nn\n\n\nclass Net(nn.Identity):\n"
                "    def forward(self, x):\n        return x + 1\n")  # fmt: skip
    outcome = project.workers.run(
        measure, project.contracts()[0], project.folder, max_seconds=PATIENCE_SECONDS
    )
    assert outcome.value.problem == ""
