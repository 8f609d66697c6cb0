"""What all kernels share when they build a call."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attnprof.call import Call
from attnprof.workload import Workload

if TYPE_CHECKING:
    import torch
    from torch import nn

    from attnprof.pattern import AttentionPattern

SEED = 20200410


@contextmanager
def _defaults(workload: Workload) -> Generator[None]:
    """Parameters made inside have the workload's type and device from the start."""
    import torch

    dtype = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, workload.dtype))
    try:
        with torch.device(workload.device), torch.random.fork_rng(_gpus(workload)):
            torch.manual_seed(SEED)
            yield
    finally:
        torch.set_default_dtype(dtype)


def _gpus(workload: Workload) -> list[int]:
    import torch

    return [torch.cuda.current_device()] if workload.device == "cuda" else []


def build_call(
    workload: Workload,
    seq_len: int,
    make_layer: Callable[[int, AttentionPattern], nn.Module],
    make_kwargs: Callable[[torch.Tensor], dict[str, Any]],
) -> Call:
    """A call with seeded weights and normally distributed inputs.

    Args:
        workload: the call to build.
        seq_len: the length to compute, padding included; what is padded is zeros.
        make_layer: makes the layer of that index and pattern.
        make_kwargs: further keyword arguments, made from `hidden_states`
            `(batch, seq_len, hidden)`.
    """
    import torch

    from attnprof.nn.stack import LayerStack

    with _defaults(workload):
        layers = [make_layer(index, layer) for index, layer in enumerate(workload.layers)]
        module = layers[0] if len(layers) == 1 else LayerStack(layers)
        module.train(workload.mode == "training")
        hidden_states = torch.zeros(workload.batch_size, seq_len, workload.hidden_size)
        hidden_states[:, : workload.seq_len] = torch.randn(
            workload.batch_size, workload.seq_len, workload.hidden_size
        )
        hidden_states.requires_grad_(workload.mode == "training")
        kwargs = {"hidden_states": hidden_states, **make_kwargs(hidden_states)}
    return Call(module=module, kwargs=kwargs, mode=workload.mode)
