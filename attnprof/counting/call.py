"""A call that can be counted and timed: a module and its keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from attnprof.core.errors import MeasurementError, keep_inside

if TYPE_CHECKING:
    import torch
    from torch import nn

    from attnprof.core.workload import Mode


@dataclass(frozen=True, slots=True)
class CachedTokens:
    """Keys and values of earlier tokens in one layer of a cache.

    Attributes:
        positions: of the tokens, ascending, `(cached,)`.
        key: `(batch, kv_heads, cached, head_dim)`.
        value: `(batch, kv_heads, cached, value_dim)`.
    """

    positions: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor


class CallCache(Protocol):
    """Keys and values of earlier tokens, to which a call adds those of the new ones."""

    def restore(self) -> None:
        """Put it back to the earlier tokens, without copying any tensor."""
        ...

    def tensors(self) -> Sequence[torch.Tensor]:
        """What it holds now."""
        ...

    def earlier(self, layer: int) -> CachedTokens | None:
        """The tokens in one layer of it; None if it has none."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One forward pass, or one forward and backward pass, ready to run.

    Attributes:
        module: in eval mode for inference and decoding, in train mode for training.
        kwargs: keyword arguments of its `forward`; in training, tensors among them that require
            gradients get them.
        mode: `inference`, `decode`, or `training` if `run` also does the backward pass.
        cache: in mode `decode`, the cache among the arguments. It is restored before each call, so
            that all calls see the same context; the restored tensors stay alive during a call.
    """

    module: nn.Module
    kwargs: dict[str, Any]
    mode: Mode
    cache: CallCache | None = None

    def forward(self) -> torch.Tensor:
        """Run the module; returns the first tensor of its output.

        Raises:
            MeasurementError: if the output contains no tensor.
        """
        if self.cache is not None:
            self.cache.restore()
        output = _first_tensor(self.module(**self.kwargs))
        if output is None:
            raise MeasurementError("returns no tensor")
        return output

    def run(self) -> torch.Tensor:
        """Run one call as it is measured; returns the output, which stays alive until the end.

        In training the gradients of parameters and inputs are allocated again each time; the
        gradient of the output is all ones.

        Raises:
            MeasurementError: if the module returns no tensor, or in training one that does not
                depend on its parameters and inputs.
            FailedError: if the module tries to exit the process, as `sys.exit` does.
        """
        from attnprof.counting.fake_cuda import cuda_functions

        try:
            with cuda_functions(self.module, self.kwargs):
                return self._run()
        except BaseException as error:
            keep_inside(error)
            raise

    def _run(self) -> torch.Tensor:
        import torch
        from torch.utils._pytree import tree_leaves

        if self.mode != "training":
            with torch.no_grad():
                return self.forward()
        with torch.enable_grad():
            self.module.zero_grad(set_to_none=True)
            for leaf in tree_leaves(self.kwargs):
                if isinstance(leaf, torch.Tensor) and leaf.requires_grad:
                    leaf.grad = None
            output = self.forward()
            if not output.requires_grad:
                raise MeasurementError(
                    "returns a tensor that requires no gradient: nothing to train"
                )
            output.backward(torch.ones_like(output))
            return output.detach()


def _first_tensor(output: object) -> torch.Tensor | None:
    """The first tensor of an output; those of transformers are mappings."""
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
"""Makes a new call; counters leave hooks on a module, so each count needs a new one."""
