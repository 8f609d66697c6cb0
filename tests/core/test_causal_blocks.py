"""Pairs that causal fused attention multiplies, against the blocks enumerated one by one."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnprof.core.causal_blocks import fused_causal_pairs, fused_causal_runs
from attnprof.core.workload import Device

each_device = pytest.mark.parametrize("device", get_args(Device))


def enumerated_pairs(queries: int, keys: int, device: Device) -> int:
    """On CPU, the loops of the kernel over blocks of queries and keys; else the triangle."""
    if device == "cuda":
        return int(np.tri(queries, keys, dtype=np.int64).sum())
    rows = 256 if queries >= 768 else 64 if queries >= 192 else 32
    pairs = 0
    for first in range(0, queries, rows):
        last = min(first + rows, queries)
        for begin in range(0, min(last, keys), 512):
            pairs += (last - first) * (min(begin + 512, keys) - begin)
    return pairs


@each_device
@given(st.integers(1, 2500), st.integers(1, 2500))
def test_pairs_are_those_of_the_enumerated_blocks(device: Device, queries: int, keys: int) -> None:
    assert fused_causal_pairs(queries, keys, device) == enumerated_pairs(queries, keys, device)


@each_device
@given(st.integers(1, 1300))
def test_runs_hold_each_pair_once_and_all_attended_ones(device: Device, seq_len: int) -> None:
    times = np.zeros((seq_len, seq_len), dtype=np.int8)
    for run in fused_causal_runs(seq_len, device):
        for queries, keys in run.blocks():
            times[queries.start : queries.stop, keys.start : keys.stop] += 1
    assert times.max() == 1
    assert times.sum() == fused_causal_pairs(seq_len, seq_len, device)
    assert times[np.tri(seq_len, dtype=bool)].all()


@each_device
def test_ten_million_tokens_are_a_few_runs(device: Device) -> None:
    assert len(fused_causal_runs(10_000_001, device)) < 50
    half = 10_000_001**2 / 2
    assert fused_causal_pairs(10_000_001, 10_000_001, device) == pytest.approx(half, rel=1e-3)
