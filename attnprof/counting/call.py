"""A call that can be counted and timed: a module and its keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from attnprof.core.errors import MeasurementError, keep_inside

if TYPE_CHECKING:
    import torch
    from torch import nn

    from attnprof.core.workload import Mode


@dataclass(frozen=True, slots=True)
class Call:
    """One forward pass, or one forward and backward pass, ready to run.

    Attributes:
        module: in eval mode for inference, in train mode for training.
        kwargs: of its `forward`; floats among them that ask for gradients get them in training.
        mode: whether `run` also goes backward.
    """

    module: nn.Module
    kwargs: dict[str, Any]
    mode: Mode

    def forward(self) -> torch.Tensor:
        """The first tensor of what the module returns.

        Raises:
            MeasurementError: when it returns none.
        """
        output = _first_tensor(self.module(**self.kwargs))
        if output is None:
            raise MeasurementError("returns no tensor")
        return output

    def run(self) -> torch.Tensor:
        """One call as it is costed; returns the output, which lives through the whole call.

        In training the gradients of the parameters and of the inputs are made anew each time; the
        gradient of the output is all ones.

        Raises:
            MeasurementError: when the module returns no tensor, or in training one that does not
                depend on its parameters and inputs.
            FailedError: when it leaves the process, as `sys.exit` does.
        """
        try:
            return self._run()
        except BaseException as error:
            keep_inside(error)
            raise

    def _run(self) -> torch.Tensor:
        import torch
        from torch.utils._pytree import tree_leaves

        if self.mode == "inference":
            with torch.no_grad():
                return self.forward()
        with torch.enable_grad():
            self.module.zero_grad(set_to_none=True)
            for leaf in tree_leaves(self.kwargs):
                if isinstance(leaf, torch.Tensor) and leaf.requires_grad:
                    leaf.grad = None
            output = self.forward()
            if not output.requires_grad:
                raise MeasurementError("returns a tensor without a gradient; nothing to train")
            output.backward(torch.ones_like(output))
            return output.detach()


def _first_tensor(output: object) -> torch.Tensor | None:
    """The first tensor in a tensor, tuple, list or mapping; transformers' outputs are mappings."""
    import torch

    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, Mapping):
        output = tuple(cast("Mapping[str, object]", output).values())
    if isinstance(output, tuple | list):
        tensors = (_first_tensor(item) for item in cast("Sequence[object]", output))
        return next((tensor for tensor in tensors if tensor is not None), None)
    return None


Build = Callable[[], Call]
"""Makes a fresh call: counters leave hooks on a module, so each gets one of its own."""
