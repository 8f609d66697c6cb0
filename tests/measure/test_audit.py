"""Counts of every counter, explained down to the last MAC, and unexplained counts."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner
from workloads import HEADS, HIDDEN

from attnprof import AttentionPattern, Workload, kernels
from attnprof.analysis.audit_table import AuditRow
from attnprof.cli import app
from attnprof.cli.audit import prepare_audit
from attnprof.core.workload import Case
from attnprof.counting import counters, third_party
from attnprof.counting.call import Call
from attnprof.counting.reconciliation import CounterEntry, reconcile
from attnprof.measure.audit import audit
from attnprof.options import read_cases

LENGTHS = (200,)
WINDOWS = (16, 64)
EAGER = [
    name
    for name in kernels.names()
    if not kernels.find(name).needs_compilation and name != "longformer-triton"
]
"""Kernels that run on a CPU without compilation."""
INSTALLED = [name for name in third_party.names() if third_party.is_installed(name)]


def cases(names: list[str], lengths: tuple[int, ...], windows: tuple[int, ...]) -> list[Case]:
    """Every kernel, with and without global tokens, in both modes at the shortest length."""
    chosen: dict[Case, None] = {}
    for name in names:
        for n in lengths:
            for window in windows:
                for positions in ((), (0, 7)):
                    pattern = AttentionPattern.sliding(window, 1, positions, num_heads=HEADS)
                    workload = Workload(pattern, n, HIDDEN, batch_size=2)
                    if kernels.find(name).pattern_support == "dense":
                        workload = workload.densified()
                    if kernels.find(name).unsupported_reason(workload):  # a decoder
                        pattern = AttentionPattern.sliding(window, num_heads=HEADS, causal=True)
                        workload = Workload(pattern, n, HIDDEN, batch_size=2, kv_heads=1)
                    chosen[Case(name, workload)] = None
    return list(chosen)


@pytest.mark.parametrize("seq_len", LENGTHS)
def test_every_counter_is_fully_explained_on_every_kernel(seq_len: int) -> None:
    table = audit(cases(EAGER, (seq_len,), WINDOWS), ())
    assert table.failures == table.refusals == []
    assert {row.counter for row in table.rows} == {"formula", "useful", *counters.names()}
    for row in table.rows:
        assert row.failure == "", row
        assert row.residual_macs == 0, row


def test_stacks_and_whole_layers_are_explained_too() -> None:
    options: Any = {"len": 100, "kernel": EAGER, "window": "16:32"}
    options |= {"hidden_size": 64, "num_heads": 4}
    stacks = read_cases({**options, "scope": "stack"}, "cpu")
    table = audit([*stacks, *read_cases({**options, "scope": "layer"}, "cpu")], ())
    assert table.unexplained == []
    named = {name for row in table.rows for name in row.differences}
    assert {"bias", "normalisation", "activation", "padding not counted"} <= named


def test_training_is_explained_by_the_uncounted_backward_pass() -> None:
    options: Any = {"len": 96, "mode": "training", "kernel": EAGER, "window": 16, "num_heads": 4}
    table = prepare_audit({**options, "hidden_size": 64, "no_peers": True}).run()
    assert table.unexplained == []
    for row in table.rows:
        is_forward_only = row.counter.startswith("ptflops")
        assert ("backward pass not counted" in row.differences) == is_forward_only, row


@pytest.mark.skipif(not INSTALLED, reason="the extra attnprof[audit] is not installed")
def test_third_party_counters_are_fully_explained() -> None:
    chosen = cases(EAGER, (96,), (32,))
    table = audit(chosen, INSTALLED)
    rows = [row for row in table.rows if row.counter in INSTALLED]
    assert len(rows) == len(chosen) * len(INSTALLED)
    for row in rows:
        if row.counter == "calflops" and row.case.kernel == "longformer-hf":
            # It crashes there and would leave torch patched for later counts.
            assert row.failure.startswith("crash: ")
            assert row.residual_macs is None
        else:
            assert (row.failure, row.residual_macs) == ("", 0), row


def test_counters_that_fail_on_a_kernel_are_rows_that_say_so() -> None:
    pattern = AttentionPattern.sliding(16, num_heads=HEADS)
    table = audit([Case("longformer-flex", Workload(pattern, 64, HIDDEN))], ())
    failures = {row.counter: row.failure for row in table.rows if row.failure}
    assert set(failures) == {"ptflops_pytorch", "ptflops_aten", "torch"}
    assert all(failure.startswith("crash: ") for failure in failures.values())
    truth = {row.counter: row.counted_macs for row in table.rows if row.counted_macs}
    assert truth["operator"] == truth["formula"]


# Different kinds of modules: some counters count them by hooks, others by replaced functions.
class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.up = nn.Linear(16, 32)
        self.act = nn.GELU()
        self.weight = nn.Parameter(torch.ones(32, 16))
        self.conv = nn.Conv1d(16, 16, 3, groups=4, padding=1)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.up(self.norm(x))) @ self.weight
        x = functional.linear(x, self.weight[:16, :16])
        x = torch.baddbmm(x, torch.softmax(torch.bmm(x, x.mT), -1), x)
        x = torch.add(x, torch.mul(x, 2))
        x = functional.gelu(x) + torch.einsum("bnd,de->bne", x, self.weight[:16])
        x = self.conv(x.mT).mT
        return functional.scaled_dot_product_attention(x, x, x)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.bias = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x)[0] + self.bias


def call_of(make: Callable[[], nn.Module]) -> Call:
    torch.manual_seed(0)
    return Call(make().eval(), {"x": torch.rand(3, 10, 16)}, "inference")


@pytest.mark.parametrize("name", counters.names())
def test_custom_modules_are_explained_too(name: str) -> None:
    build = partial(call_of, Mixed)
    counter = counters.find(name)
    assert counter.count(build) == counter.explain(build).counted_macs


class Shared(nn.Module):
    """One linear layer at two paths of the module tree, called three times."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)
        self.inner = nn.Sequential(self.linear, nn.LayerNorm(16), self.linear)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.linear(x))


def encoder_layer() -> nn.Module:
    return nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)


def conv1d_of_transformers() -> nn.Module:
    from transformers.pytorch_utils import Conv1D

    return Conv1D(16, 16)


MAKES: tuple[Any, ...] = (Mixed, Shared, encoder_layer, conv1d_of_transformers)


@pytest.fixture(scope="module")
def custom_rows() -> dict[str, dict[str, AuditRow]]:
    """The rows of each module by counter, of one audit."""
    workload = Workload(AttentionPattern.dense(HEADS), 10, 16)
    chosen = [Case(f"test_audit:{make.__name__}", workload) for make in MAKES]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).parent)
        rows = audit(chosen, INSTALLED).rows
    return {
        case.kernel: {row.counter: row for row in rows if row.case.kernel == case.kernel}
        for case in chosen
    }


@pytest.mark.skipif(not INSTALLED, reason="the extra attnprof[audit] is not installed")
def test_third_party_counters_are_explained_on_custom_modules(
    custom_rows: dict[str, dict[str, AuditRow]],
) -> None:
    for name in INSTALLED:
        row = custom_rows["test_audit:Mixed"][name]
        assert (row.failure, row.residual_macs) == ("", 0), row


@pytest.mark.parametrize("make", MAKES[1:])
def test_shared_modules_fast_paths_and_lookalikes_are_explained(
    make: Any, custom_rows: dict[str, dict[str, AuditRow]]
) -> None:
    rows = custom_rows[f"test_audit:{make.__name__}"]
    assert len(rows) == 1 + len(counters.names()) - 1 + len(INSTALLED)
    for row in rows.values():
        assert (row.failure, row.residual_macs) == ("", 0), row
        for name, macs in row.differences.items():
            is_missing = name.endswith(("not counted", "not per token"))
            assert (macs < 0) == is_missing, (name, macs)
    if make is Shared:
        once = 10 * 16 * 16
        assert rows["operator"].counted_macs == 3 * once
        surplus = {name: row.differences for name, row in rows.items()}
        name = "shared modules counted once per occurrence"
        assert surplus["ptflops_pytorch"][name] == 3 * (once + 10 * 16)
        assert name not in surplus["ptflops_aten"]
        if INSTALLED:
            assert surplus["calflops"][name] == 3 * once
            assert surplus["thop"][name] == 3 * 3 * once  # two hooks, at two places
            assert name not in surplus["torchinfo"]


def test_double_counting_is_named() -> None:
    """ptflops counts `nn.MultiheadAttention` by a hook, and its products again by functions."""
    build, counter = partial(call_of, Attending), counters.find("ptflops_pytorch")
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        counted, found = counter.count(build), counter.explain(build)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    scores_and_context = 2 * 3 * 10 * 10 * 16
    assert found.differences["counted twice"] == scores_and_context
    assert counted == found.counted_macs


def test_reconciliation_names_double_counts_misses_and_misread_shapes() -> None:
    """One product counted twice, one product not counted, and one misread shape."""
    left, right = torch.zeros(4, 5), torch.zeros(5, 6)

    class Net(nn.Module):
        def forward(self) -> None:
            torch.matmul(left, right)
            torch.einsum("ij,jk->ik", left, right)

    net = Net()

    def sees(span: Any) -> CounterEntry | None:
        if span.kind == "function" and span.subject == "torch.matmul":
            return CounterEntry(span.macs + 7, {"bias": 3})
        if span.kind == "operator" and span.subject is torch.ops.aten.mm:
            return CounterEntry(span.macs)
        return None

    found = reconcile(net, sees, ["torch.matmul"])
    assert found.true_macs == 240
    assert found.differences == {
        "bias": 3,
        "shapes misread": 7,
        "counted twice": 120,
        "einsum not counted": -120,
    }
    assert found.counted_macs == 240 + 3 + 7


def test_an_unexplained_count_is_shown_and_the_command_exits_with_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch_counter = counters.find("torch")
    count = torch_counter.count
    monkeypatch.setattr(torch_counter, "count", lambda build: count(build) + 5)
    words = ["audit", "--kernel", "bert-eager", "--len", "64", "--no-peers", "--json", "-"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    rows = json.loads(result.stdout)["rows"]
    assert [row["residual_macs"] for row in rows if row["counter"] == "torch"] == [5]
    shown = CliRunner().invoke(app, words[:-2])
    assert "unexplained" in shown.stdout
    assert "+5" in shown.stdout


def test_outputs_hold_the_same_rows(tmp_path: Path) -> None:
    paths = {form: str(tmp_path / f"audit.{form}") for form in ("csv", "json", "markdown")}
    options = [word for form, path in paths.items() for word in (f"--{form}", path)]
    words = ["--kernel", "bert-sdpa", "longformer-hf", "--len", "64", "128", "--window", "32"]
    result = CliRunner().invoke(app, ["audit", *words, "--no-peers", *options])
    assert result.exit_code == 0, result.stderr
    frame = pd.read_csv(io.StringIO(Path(paths["csv"]).read_text()), keep_default_na=False)
    rows = json.loads(Path(paths["json"]).read_text())["rows"]
    assert list(frame.counter) == [row["counter"] for row in rows]
    assert [int(macs) for macs in frame.counted_macs] == [row["counted_macs"] for row in rows]
    for row in rows:
        assert row["counted_macs"] == row["true_macs"] + sum(row["differences"].values())
    assert "| ptflops, aten | " in Path(paths["markdown"]).read_text()


def test_an_unsupported_case_is_reported_and_the_others_continue() -> None:
    words = ["audit", "--kernel", "longformer-hf", "bert-sdpa", "--len", "64", "--dilation", "2"]
    result = CliRunner().invoke(app, [*words, "--no-peers"])
    assert result.exit_code == 0
    assert "longformer-hf at 64: transformers' module has no dilation" in result.stderr
    assert "bert-sdpa, 64 tokens" in result.stdout


def test_useful_macs_differ_by_the_padding() -> None:
    table = prepare_audit(
        {"kernel": "longformer-hf", "len": 100, "window": 64, "no_peers": True}
    ).run()
    (row,) = [row for row in table.rows if row.counter == "useful"]
    kernel, workload = kernels.find("longformer-hf"), row.case.workload
    from attnprof.core.formulas import useful_macs

    assert row.differences["padding not counted"] == useful_macs(workload) - useful_macs(
        workload.at(kernels.padded_seq_len(kernel, workload))
    )
    assert row.residual_macs == 0
