"""A call that can be counted and timed: a module and its keyword arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from attnprof.workload import Mode


@dataclass(frozen=True, slots=True)
class Call:
    """One forward pass, or one forward and backward pass, ready to run.

    Attributes:
        module: in eval mode for inference, in train mode for training.
        kwargs: of its `forward`; `hidden_states` among them is `(batch, seq_len, hidden)`.
        mode: whether `run` also goes backward.
    """

    module: nn.Module
    kwargs: dict[str, Any]
    mode: Mode

    def forward(self) -> torch.Tensor:
        """The output `(batch, seq_len, hidden)`, first of what transformers' layers return."""
        output = self.module(**self.kwargs)
        return output[0] if isinstance(output, tuple) else output

    def run(self) -> torch.Tensor:
        """One call as it is costed; returns the output, which lives through the whole call.

        In training the gradients of the parameters and of `hidden_states` are made anew each time;
        the gradient of the output is all ones.
        """
        import torch

        if self.mode == "inference":
            with torch.no_grad():
                return self.forward()
        with torch.enable_grad():
            self.module.zero_grad(set_to_none=True)
            self.kwargs["hidden_states"].grad = None
            output = self.forward()
            output.backward(torch.ones_like(output))
            return output.detach()


Build = Callable[[], Call]
"""Makes a fresh call: counters leave hooks on a module, so each gets one of its own."""
