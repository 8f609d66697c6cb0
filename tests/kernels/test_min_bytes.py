"""Least bytes against the tensors of real calls: parameters, inputs, outputs, gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from workloads import HEADS, HIDDEN, describe, sliding

import attnprof
from attnprof import AttentionPattern, Workload, kernels
from attnprof.core.roofline import min_bytes

WORKLOADS = [
    Workload(pattern, 32, HIDDEN, batch_size=2, mode=mode, scope=scope)
    for pattern in (AttentionPattern.dense(HEADS), sliding(8), sliding(8, positions=(0,)))
    for mode in ("inference", "training")
    for scope in ("attention", "layer")
]


class WithBuffer(nn.Module):
    """A frozen projection with a table of positions."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(HIDDEN, 8)
        self.project.bias.requires_grad_(False)
        self.register_buffer("positions", torch.zeros(16))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.project(hidden_states) + self.positions.sum()


@pytest.mark.parametrize("workload", WORKLOADS, ids=describe)
def test_least_bytes_are_those_of_the_tensors_of_a_call(workload: Workload) -> None:
    name = "bert-sdpa" if workload.is_dense else "longformer-masked"
    call = kernels.find(name).build(workload)
    moved = [*call.module.parameters(), call.kwargs["hidden_states"]]
    total = sum(tensor.nbytes for tensor in moved) + call.run().nbytes
    assert min_bytes(workload) == total * (2 if workload.mode == "training" else 1)


def test_a_custom_kernel_moves_its_tensors_and_their_gradients() -> None:
    weights, hidden, output = HIDDEN * 8, 2 * 32 * HIDDEN, 2 * 32 * 8
    expected = {
        "inference": weights + 8 + 16 + hidden + output,
        "training": 2 * (weights + hidden + output) + 8 + 16,
    }
    for mode, elements in expected.items():
        table = attnprof.estimate(
            kernel=WithBuffer(), len=32, batch_size=2, hidden_size=HIDDEN, num_heads=4, mode=mode
        )
        (row,) = table.rows
        assert row.values["min_bytes"] == 4 * elements
        assert row.values["intensity"] == round(2 * row.values["executed_macs"] / (4 * elements), 4)
