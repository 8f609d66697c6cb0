"""Built-in kernels with the workloads that tests run them on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from workloads import HEADS, describe

from attnprof import Workload, kernels

COMPILED = 3
"""Workloads for a kernel that is compiled: each takes seconds, not milliseconds."""

WIDE = 20 * HEADS
"""torch 2.13's compiled FlexAttention reads memory that was never written in heads of 8 and 16, on
CPUs without AVX-512; in heads of 20 it is correct everywhere."""


def supported(workloads: Iterable[Workload], compiled: int = COMPILED) -> list[Any]:
    """Every built-in kernel with every workload that it supports; with some if it is compiled."""
    cases: list[Any] = []
    for name in kernels.names():
        kernel = kernels.find(name)
        chosen = [workload for workload in workloads if kernel.unsupported_reason(workload) is None]
        if kernel.needs_compilation:
            chosen = chosen[:: -(-len(chosen) // compiled)]
            chosen = [correct_everywhere(kernel, workload) for workload in chosen]
        cases += [pytest.param(kernel, w, id=f"{name}_{describe(w)}") for w in chosen]
    return cases


def correct_everywhere(kernel: kernels.Kernel, workload: Workload) -> Workload:
    """The workload, with wider heads where a kernel is only correct on some CPUs otherwise."""
    is_narrow = kernel.needs_compilation and workload.head_dim in (8, 16)
    return replace(workload, hidden_size=WIDE, head_dim=0, value_dim=0) if is_narrow else workload
