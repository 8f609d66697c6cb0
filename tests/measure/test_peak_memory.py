"""Peak memory of allocations of known size."""

from __future__ import annotations

import os
import sys

import pytest
import torch
from timeouts import PATIENCE_SECONDS

from attnprof.core.errors import MeasurementError
from attnprof.isolation.fork_server import ForkServer
from attnprof.measure.peak_memory import PeakMemory, measure_peak_bytes, measure_peak_memory


def test_peak_is_the_most_at_one_time_and_not_the_sum() -> None:
    def run() -> torch.Tensor:
        for _ in range(3):
            torch.empty(1_000_000, dtype=torch.uint8)
        return torch.empty(300_000, dtype=torch.uint8)

    assert measure_peak_bytes(run, "cpu") == 1_000_000


def test_peak_counts_buffers_inside_operators_and_not_inputs() -> None:
    n, heads, width = 256, 2, 16
    query = torch.randn(1, heads, n, width)

    def run() -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(query, query, query)

    output_and_statistics = (n * heads * width + n * heads) * 4
    assert measure_peak_bytes(run, "cpu") > output_and_statistics


def test_measuring_memory_prints_nothing_and_restores_stderr(
    capfd: pytest.CaptureFixture[str],
) -> None:
    measure_peak_bytes(lambda: torch.zeros(10), "cpu")
    os.write(2, b"stderr is back\n")
    assert capfd.readouterr() == ("", "stderr is back\n")


def test_a_call_without_allocation_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(MeasurementError, match="no allocation"):
        measure_peak_bytes(lambda: None, "cpu")


_TENSORS, _BYTES_EACH = 3, 2**25


def _allocate() -> torch.Tensor:
    return torch.cat([torch.ones(_BYTES_EACH, dtype=torch.uint8) for _ in range(_TENSORS)])


def peaks_of_a_fresh_process() -> PeakMemory:
    return measure_peak_memory(_allocate, "cpu")


def test_the_resident_set_grows_by_the_peak_that_the_allocator_reports() -> None:
    with ForkServer(["test_peak_memory"]) as server:
        peaks = server.run(peaks_of_a_fresh_process, max_seconds=PATIENCE_SECONDS).result
    assert peaks.peak_bytes == 2 * _TENSORS * _BYTES_EACH
    assert peaks.reserved_peak_bytes is None
    if sys.platform == "linux":
        assert peaks.resident_peak_bytes == pytest.approx(peaks.peak_bytes, rel=0.05)
