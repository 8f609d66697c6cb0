"""Contexts in which modules and inputs are made: the workload's type and device, and one seed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, nullcontext

from attnprof.core.workload import Workload

SEED = 20200410


@contextmanager
def seeded_defaults(workload: Workload) -> Generator[None]:
    """Make tensors in the workload's type and on its device, from one seed; restored at the end."""
    import torch

    from attnprof.counting.fake_cuda import CudaFunctions
    from attnprof.counting.fake_tensors import is_fake_mode

    is_fake_cuda = workload.device == "cuda" and is_fake_mode()
    functions = CudaFunctions() if is_fake_cuda else nullcontext()
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, workload.dtype))
    try:
        with functions, torch.device(workload.device), torch.random.fork_rng(_gpus(workload)):
            torch.manual_seed(SEED)
            yield
    finally:
        torch.set_default_dtype(dtype)


@contextmanager
def seeded_everywhere() -> Generator[None]:
    """Seed torch on CPU, numpy and Python inside this context; restores their states."""
    import random

    import numpy as np
    import torch

    python, legacy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            random.seed(SEED)
            np.random.seed(SEED)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)


def _gpus(workload: Workload) -> list[int]:
    """The GPU whose random numbers are restored; none on a machine that only counts for CUDA."""
    import torch

    has_gpu = workload.device == "cuda" and torch.cuda.is_available()
    return [torch.cuda.current_device()] if has_gpu else []
