"""`max.executed_over_useful`: what masks hide may not cost more than that."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from guard_project import Project, contract, terms
from windowed import HEADS, WIDTH, WINDOW

from attnprof.guard.config import read_configuration
from attnprof.guard.contract import ConfigurationError

SOURCE = Path(__file__).parents[1] / "helpers" / "windowed.py"
LENGTHS = (64, 128)


def ratio(n: int) -> float:
    """Executed MACs over useful ones of one sequence, by the definition of the window."""
    projections, of_pair = n * 3 * WIDTH**2, 2 * WIDTH
    pairs = sum(min(query + 1, WINDOW) for query in range(n))
    assert of_pair == HEADS * 2 * (WIDTH // HEADS)
    return (projections + of_pair * n * n) / (projections + of_pair * pairs)


def limited(project: Project, name: str, limit: float, *lines: str) -> None:
    shutil.copy(SOURCE, project.folder)
    target, described = f"windowed:{name}", f'input = "x=batch,len,{WIDTH}"'
    limits = f"max.executed_over_useful = {limit}"
    project.says(contract("a", target, LENGTHS, described, limits, *lines))
    project.init()


def test_a_limit_above_the_ratio_is_kept_and_one_below_is_broken(project: Project) -> None:
    limited(project, "Windowed", ratio(128) + 0.001)
    assert project.only().status == "kept"
    limited_ratio = (ratio(64) + ratio(128)) / 2
    project.lock.unlink()
    limited(project, "Windowed", limited_ratio)
    result = project.only()
    assert terms(result) == ["max.executed_over_useful"]
    (breach,) = result.breaches
    assert [step.seq_len for step in breach.steps] == [128]
    assert breach.steps[0].now / breach.steps[0].was == pytest.approx(
        ratio(128) / limited_ratio, rel=1e-4
    )
    assert f"up to {ratio(128):.2f}x the useful ones, over the limit from 128 tokens" in breach.says
    assert len(breach.where) == 1
    assert "of masked pairs" in breach.where[0]


def test_the_formula_of_a_built_in_kernel_is_what_it_needs(project: Project) -> None:
    project.says(
        contract("a", "longformer-masked", LENGTHS, "window = 16", "max.executed_over_useful = 1")
    )
    project.init()
    assert terms(project.only()) == ["max.executed_over_useful"]


def test_a_mask_that_depends_on_data_is_a_problem_and_not_kept(project: Project) -> None:
    limited(project, "FromData", 5)
    result = project.only()
    assert result.status == "failed"
    assert result.problem.startswith("max.executed_over_useful: cannot be checked: at 64 tokens: ")
    assert "depends on data" in result.problem


@pytest.mark.parametrize("limit", ["0.5", "true", '"2x"', "inf"])
def test_a_limit_that_is_no_ratio_is_refused(tmp_path: Path, limit: str) -> None:
    path = tmp_path / "attnprof.toml"
    path.write_text(contract("a", "bert-sdpa", [64], f"max.executed_over_useful = {limit}"))
    with pytest.raises(ConfigurationError, match=r"must be a ratio of at least 1, such as 1\.5"):
        read_configuration(path)
