"""Modules that end the process they run in, for tests of processes that must survive it."""

from __future__ import annotations

import os
import signal
import time

import torch
from torch import nn


class Late(nn.Module):
    """A linear layer that works at short lengths."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(batch, len, hidden)` to the same."""
        if x.shape[1] == 150:
            time.sleep(600)
        if x.shape[1] == 200:
            raise SystemExit(3)
        if x.shape[1] > 200:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.linear(x)
