"""Modules that fail on a Dask worker at some lengths, also by killing the worker itself."""

from __future__ import annotations

import os
import sys
import time

import psutil
import torch
from torch import nn

from attnprof.measure import worker_tasks

RAISES, EXITS, KILLS, KILLS_IN_ROUNDS, HANGS = 10, 12, 14, 18, 22


def _runs(function: object) -> bool:
    code = getattr(function, "__code__", None)
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back
    return False


def _kill_dask_worker() -> None:
    for parent in psutil.Process().parents():
        if "multiprocessing.spawn" in " ".join(parent.cmdline()):
            parent.kill()
            time.sleep(600)


class Healthy(nn.Module):
    """A linear layer."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(batch, len, hidden)` to the same."""
        return self.linear(x)


class Faulty(Healthy):
    """A linear layer that fails at some lengths."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(batch, len, hidden)` to the same."""
        length = x.shape[1]
        if _runs(worker_tasks.count_with):
            if length == RAISES:
                raise RuntimeError("it broke")
            if length == EXITS:
                os._exit(7)
            if length == HANGS:
                time.sleep(3600)
            if length == KILLS:
                _kill_dask_worker()
        if _runs(worker_tasks.timed) and length == KILLS_IN_ROUNDS:
            self.calls += 1
            if self.calls == 3:
                _kill_dask_worker()
        return self.linear(x)
