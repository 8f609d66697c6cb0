"""The kernels that the tests run, and how exactly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from workloads import HEADS, describe

from attnprof import Workload, kernels

COMPILED = 3
"""Workloads of a kernel that is compiled for each: seconds, where others take milliseconds."""

WIDE = 20 * HEADS
"""torch 2.13's compiled FlexAttention reads memory that was never written in heads of 8 and 16, on
CPUs without AVX-512; in heads of 20 it is right everywhere."""


def supported(workloads: Iterable[Workload], compiled: int = COMPILED) -> list[Any]:
    """Every kernel in the folder with every workload that it takes; some, where it is compiled."""
    cases: list[Any] = []
    for name in kernels.names():
        kernel = kernels.find(name)
        taken = [workload for workload in workloads if kernel.unsupported_reason(workload) is None]
        if kernel.needs_compilation:
            taken = taken[:: -(-len(taken) // compiled)]
            taken = [right_everywhere(kernel, workload) for workload in taken]
        cases += [pytest.param(kernel, w, id=f"{name}_{describe(w)}") for w in taken]
    return cases


def right_everywhere(kernel: kernels.Kernel, workload: Workload) -> Workload:
    """A workload that a kernel computes rightly on any processor."""
    is_narrow = kernel.needs_compilation and workload.head_dim in (8, 16)
    return replace(workload, hidden_size=WIDE) if is_narrow else workload
