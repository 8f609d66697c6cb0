"""How built-in kernels build a call: seeded weights, hidden states, padding."""

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


def no_padding(workload: Workload) -> int:
    """1, the `padding_multiple` of kernels that compute exactly `seq_len` tokens."""
    return 1


def build_call(
    workload: Workload,
    seq_len: int,
    make_layer: Callable[[int, AttentionPattern], nn.Module],
    make_kwargs: Callable[[torch.Tensor], dict[str, Any]] | None = None,
) -> Call:
    """A call with seeded weights and normally distributed inputs.

    Args:
        workload: the call to build.
        seq_len: the queries to compute, padding included; padding tokens are zeros.
        make_layer: makes the attention of the layer with that index and pattern; in scope `layer`,
            the rest of the layer is built around it.
        make_kwargs: makes further keyword arguments from `hidden_states`
            `(batch, seq_len, hidden)`; None where there are none.
    """
    import torch

    from attnprof.nn.encoder import EncoderLayer, LayerStack

    with seeded_defaults(workload):
        layers = [make_layer(index, layer) for index, layer in enumerate(workload.layers)]
        if workload.scope == "layer":
            layers = [
                EncoderLayer(
                    attention,
                    workload.hidden_size,
                    workload.intermediate_size,
                    workload.output_width,
                )
                for attention in layers
            ]
        module = layers[0] if len(layers) == 1 else LayerStack(layers)
        module.train(workload.mode == "training")
        hidden_states = torch.zeros(workload.batch_size, seq_len, workload.hidden_size)
        hidden_states[:, : workload.queries] = torch.randn(
            workload.batch_size, workload.queries, workload.hidden_size
        )
        hidden_states.requires_grad_(workload.mode == "training")
        kwargs: dict[str, Any] = {"hidden_states": hidden_states}
        if make_kwargs is not None:
            kwargs |= make_kwargs(hidden_states)
    return Call(module=module, kwargs=kwargs, mode=workload.mode)
