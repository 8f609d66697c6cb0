"""The guard in a test suite: `pytest --attnprof` and `attnprof.assert_growth`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from guard_project import contract
from mixers import BlockSqrt, Butterfly, Chunked, Dense, Linear
from torch import nn

import attnprof
from attnprof.core.errors import MeasurementError, UncountedError, UsageError

ATTNPROF = Path(sys.executable).parent / "attnprof"
X = "x=batch,len,64"
PHRASES = {
    "linear": "grow linearly with length",
    "quadratic": "grow quadratically with length",
}


# --- assert_growth --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "law", "below"),
    [
        (Linear, "linear", "n^0.9"),
        (Dense(), "quadratic", "n^1.9"),
        (Chunked, "linear", "constant"),
        (Butterfly, "n log n", "linear"),
        (BlockSqrt, "n sqrt n", "n log n"),
        (lambda seq_len: Dense(), "quadratic", "n sqrt n"),
        ("bert-sdpa", "quadratic", "linear"),
    ],
    ids=["class", "module", "chunks", "butterfly", "sqrt blocks", "factory", "kernel"],
)
def test_a_law_holds_and_the_next_below_does_not(target: object, law: str, below: str) -> None:
    options = {} if isinstance(target, str) else {"input": X}
    attnprof.assert_growth(target, [256, 512, 1024], macs=law, **options)  # pyright: ignore[reportArgumentType]
    phrase = PHRASES.get(law, f"grow as {law}")
    with pytest.raises(AssertionError, match=rf"(?s)MACs {re.escape(phrase)} \(.*allowed"):
        attnprof.assert_growth(target, [256, 512, 1024], macs=below, **options)  # pyright: ignore[reportArgumentType]


def test_a_function_with_its_arguments_is_measured() -> None:
    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return (query @ key.mT).softmax(-1) @ value

    attnprof.assert_growth(attend, "256:1024:x2", macs="quadratic", peak_bytes="quadratic")
    with pytest.raises(AssertionError, match="attend: peak bytes grow quadratically with length"):
        attnprof.assert_growth(attend, "256:1024:x2", peak_bytes="linear")


def test_the_message_names_the_module_and_the_coefficient() -> None:
    attnprof.estimate(
        kernel=nn.Sequential(Linear()), len=16, input="input=batch,len,64", no_isolation=True
    )
    model = nn.Sequential(Linear(), Dense())
    with pytest.raises(AssertionError) as caught:
        attnprof.assert_growth(model, [256, 512], macs="linear", input="input=batch,len,64")
    sentence, _, where = str(caught.value).splitlines()
    assert sentence.startswith(
        "Sequential: MACs grow quadratically with length (checked up to 1,048,576"
    )
    assert "1 aten.bmm: 33.55 MMac" in where


def test_an_existing_module_is_left_unchanged() -> None:
    module = Linear().eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    attnprof.assert_growth(module, [64, 128], macs="linear", input=X)
    assert not module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


class TooLong(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1] <= 128, "too long"
        return x


class Svd(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.svdvals(x)


def test_an_assertion_that_cannot_be_checked_raises_another_error() -> None:
    with pytest.raises(UsageError, match="name a law"):
        attnprof.assert_growth(Linear, [64], input=X)
    with pytest.raises(UsageError, match="constant, linear, n log n"):
        attnprof.assert_growth(Linear, [64], macs="cubicish", input=X)
    with pytest.raises(UsageError, match="did you mean window"):
        attnprof.assert_growth(Linear, [64], macs="linear", windw=3)  # pyright: ignore[reportCallIssue]
    with pytest.raises(UsageError, match="must be a positive whole number"):
        attnprof.assert_growth(Linear, [0], macs="linear", input=X)
    with pytest.raises(UsageError, match="target"):
        attnprof.assert_growth(3, [64], macs="linear")
    with pytest.raises(MeasurementError, match="at 256 tokens: AssertionError: too long"):
        attnprof.assert_growth(TooLong, [64, 256], macs="linear", input=X)
    with pytest.raises(UncountedError, match=r"no MAC formula for aten\._linalg_svd"):
        attnprof.assert_growth(Svd, [64, 128], macs="linear", input=X)


# --- pytest --attnprof ----------------------------------------------------------------------------


def test_contracts_are_items_and_a_broken_one_fails_with_its_report(
    pytester: pytest.Pytester,
) -> None:
    pytester.makefile(
        ".toml",
        attnprof=contract("good", "longformer-masked", [64, 128])
        + contract("bad", "longformer-masked", [64, 128], 'growth.macs = "linear"'),
    )
    pytester.makepyfile("def test_own():\n    pass\n")
    done = pytester.run(ATTNPROF, "guard", "init")
    assert done.ret == 0
    done = pytester.runpytest_subprocess("--attnprof", "-v")
    done.assert_outcomes(passed=3, failed=1)
    done.stdout.fnmatch_lines(
        [
            "attnprof.toml::good PASSED*",
            "attnprof.toml::bad FAILED*",
            "attnprof.toml::lock PASSED*",
            "attnprof.toml:4: bad: MACs grow quadratically with length*",
        ]
    )
    done.stdout.no_fnmatch_line("*Traceback*")
    done.stdout.no_fnmatch_line("*pytest_plugin.py*")
    chosen = pytester.runpytest_subprocess("--attnprof", "attnprof.toml::good")
    chosen.assert_outcomes(passed=1)
    without = pytester.runpytest_subprocess()
    without.assert_outcomes(passed=1)


def test_contracts_that_cannot_be_read_are_a_one_line_usage_error(
    pytester: pytest.Pytester,
) -> None:
    pytester.makefile(".toml", attnprof=contract("a", "bert-sdpa", [64], "foo = 1"))
    done = pytester.runpytest_subprocess("--attnprof")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: *attnprof.toml:4: guard.a.foo: unknown key; *"])
    named = pytester.runpytest_subprocess("--attnprof", "--attnprof-config", "no.toml")
    assert named.ret == pytest.ExitCode.USAGE_ERROR
    named.stderr.fnmatch_lines(["ERROR: *no.toml: no such file"])
