"""What all kernels share when they build a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attnprof.core.workload import Workload
from attnprof.counting.call import Call
from attnprof.kernels.seeding import seeded_defaults

if TYPE_CHECKING:
    import torch
    from torch import nn

    from attnprof.core.pattern import AttentionPattern


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
        make_layer: makes the attention of the layer of that index and pattern; what else the
            workload's scope has is built around it.
        make_kwargs: further keyword arguments, made from `hidden_states`
            `(batch, seq_len, hidden)`.
    """
    import torch

    from attnprof.nn.encoder import EncoderLayer, LayerStack

    with seeded_defaults(workload):
        layers = [make_layer(index, layer) for index, layer in enumerate(workload.layers)]
        if workload.scope == "layer":
            layers = [
                EncoderLayer(attention, workload.hidden_size, workload.intermediate_size)
                for attention in layers
            ]
        module = layers[0] if len(layers) == 1 else LayerStack(layers)
        module.train(workload.mode == "training")
        hidden_states = torch.zeros(workload.batch_size, seq_len, workload.hidden_size)
        hidden_states[:, : workload.seq_len] = torch.randn(
            workload.batch_size, workload.seq_len, workload.hidden_size
        )
        hidden_states.requires_grad_(workload.mode == "training")
        kwargs = {"hidden_states": hidden_states, **make_kwargs(hidden_states)}
    return Call(module=module, kwargs=kwargs, mode=workload.mode)
