"""Counters compared with direct calls of their libraries, and with one another where they agree."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from ptflops import get_model_complexity_info
from torch.utils.flop_counter import FlopCounterMode
from workloads import PATTERNS

from attnprof import AttentionPattern, Workload, kernels
from attnprof.core.errors import MeasurementError
from attnprof.counting import counters
from attnprof.counting.call import Build, Call
from attnprof.counting.fake_tensors import fake_mode
from attnprof.counting.operator_counts import count_operators


def supported(*sizes: tuple[int, int]) -> list[tuple[str, Workload]]:
    """All kernels on all patterns that they support, except those that must be compiled.

    tests/nn/test_flex.py covers the compiled ones.
    """
    return [
        (name, Workload(pattern, seq_len, 64, batch_size=batch))
        for name in kernels.names()
        for pattern in PATTERNS
        for seq_len, batch in sizes
        if kernels.find(name).unsupported_reason(Workload(pattern, seq_len, 64)) is None
        and not kernels.find(name).needs_compilation
    ]


WORKLOADS = supported((96, 1), (96, 2))
LARGER = [
    # Each kernel has both lengths in both modes, each pattern one of the lengths in each mode.
    (name, replace(workload, mode="training" if index // 2 % 2 == index % 2 else "inference"))
    for index, (name, workload) in enumerate(supported((96, 1), (700, 2)))
]
ONE_OF_EACH = dict(reversed(WORKLOADS))
"""The first workload of each kernel."""


@pytest.fixture(params=WORKLOADS, ids=lambda pair: f"{pair[0]}_{WORKLOADS.index(pair)}")
def build(request: pytest.FixtureRequest) -> Build:
    name, workload = request.param
    return partial(kernels.find(name).build, workload)


@pytest.mark.parametrize("backend", ["pytorch", "aten"])
def test_ptflops_counts_equal_a_direct_call(
    build: Build, backend: str, capfd: pytest.CaptureFixture[str]
) -> None:
    counted = counters.find(f"ptflops_{backend}").count(build)
    assert capfd.readouterr() == ("", ""), "a counter must not print to stdout or stderr"
    call = build()
    direct, _ = get_model_complexity_info(
        call.module,
        (96, 64),
        as_strings=False,
        print_per_layer_stat=False,
        input_constructor=lambda _: call.kwargs,
        backend=backend,
    )
    assert counted == direct


def test_torch_counts_equal_a_direct_call(build: Build) -> None:
    call = build()
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        call.module(**call.kwargs)
    assert counters.find("torch").count(build) * 2 == flops.get_total_flops()


@pytest.mark.parametrize(("name", "workload"), LARGER)
def test_operator_counts_on_fake_tensors_equal_those_on_real_ones(
    name: str, workload: Workload
) -> None:
    real = count_operators(kernels.find(name).build(workload).run)
    with fake_mode():
        fake = count_operators(kernels.find(name).build(workload).run)
    assert fake.complete_macs == real.complete_macs


@pytest.mark.parametrize("name", ["bert-eager", "bert-sdpa", "longformer-hf", "longformer-banded"])
def test_ten_million_tokens_are_counted_without_allocating_them(name: str) -> None:
    kernel, n = kernels.find(name), 10_000_384
    dense = kernel.pattern_support == "dense"
    pattern = AttentionPattern.dense() if dense else AttentionPattern.sliding(512, 1, (0, 7))
    workload = Workload(pattern, n)
    with fake_mode():
        counts = count_operators(kernel.build(workload).run)
    assert counts.complete_macs == kernel.executed_macs(workload)


def test_every_counter_has_a_column_of_its_own() -> None:
    quantities = [counters.find(name).quantity for name in counters.names()]
    assert sorted(quantities) == [
        "operator_macs",
        "ptflops_aten_macs",
        "ptflops_pytorch_macs",
        "torch_macs",
    ]


@pytest.mark.parametrize("seq_len", [512, 1024])
def test_ptflops_and_torch_count_only_projections_as_in_the_tutorial(seq_len: int) -> None:
    """The tutorial's 905.97 MMac and 1.81 GMac are the projections, without ptflops' bias adds."""
    build = partial(kernels.find("bert-sdpa").build, Workload(AttentionPattern.dense(), seq_len))
    projections = 3 * seq_len * 768**2
    bias_adds = 3 * seq_len * 768
    assert projections == {512: 905_969_664, 1024: 1_811_939_328}[seq_len]
    assert counters.find("ptflops_pytorch").count(build) == projections + bias_adds
    assert counters.find("torch").count(build) == projections


def test_training_counts_forward_and_backward() -> None:
    build = partial(
        kernels.find("bert-eager").build, Workload(PATTERNS[0], 40, 64, mode="training")
    )
    inference = partial(kernels.find("bert-eager").build, Workload(PATTERNS[0], 40, 64))
    operator = counters.find("operator")
    assert operator.count(build) == 3 * operator.count(inference)


class Failing(torch.nn.Module):
    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("this module is broken")


@pytest.mark.parametrize("backend", ["pytorch", "aten"])
def test_a_failure_of_ptflops_is_an_error_with_its_reason(
    backend: str, capfd: pytest.CaptureFixture[str]
) -> None:
    from attnprof.counting.counters._ptflops import complexity

    call = Call(Failing(), {"hidden_states": torch.zeros(1, 4, 4)}, "inference")
    with pytest.raises(MeasurementError, match="this module is broken"):
        complexity(call, backend)  # type: ignore[arg-type]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "workload"), ONE_OF_EACH.items())
def test_counting_leaves_torch_unpatched(name: str, workload: Workload) -> None:
    build = partial(kernels.find(name).build, workload)
    before: list[Any] = [torch.matmul, torch.bmm, torch.nn.functional.softmax, torch.Tensor.add]
    for counter in counters.names():
        counters.find(counter).count(build)
    after = [torch.matmul, torch.bmm, torch.nn.functional.softmax, torch.Tensor.add]
    assert all(was is now for was, now in zip(before, after, strict=True))


def test_shapes_that_depend_on_data_are_counted_on_real_tensors() -> None:
    class Routed(torch.nn.Module):
        """Multiplies the tokens whose first element is positive."""

        def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
            chosen = hidden_states[hidden_states[..., 0] > 0]
            return chosen @ torch.ones(8, 8)

    def build() -> Call:
        hidden = torch.linspace(-1, 1, 16).repeat_interleave(8).view(1, 16, 8)
        return Call(Routed(), {"hidden_states": hidden + torch.rand(1, 16, 8) * 0}, "inference")

    for name in ("operator", "ptflops_aten", "torch"):
        assert counters.find(name).count(build) in (0, 8 * 8 * 8)
    assert counters.find("operator").count(build) == 8 * 8 * 8
