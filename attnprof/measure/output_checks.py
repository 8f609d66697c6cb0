"""Whether a built-in kernel computes what it is measured for: its output against the definition.

Each attention in the call is compared, in a stack and in whole layers too, with what its own
weights and its own input should give. What stands around it in a whole layer, torch's projections,
norms and feed-forward, is looked through for what is not finite, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from attnprof.core.errors import MeasurementError
from attnprof.core.workload import Workload
from attnprof.counting.call import Call

if TYPE_CHECKING:
    from torch import Tensor, nn

    from attnprof.nn.checking.expected_outputs import Definition, ProjectedHeads
    from attnprof.nn.checking.tolerance import Precision

_SEED = 20200410
_PROJECTIONS = ("query", "key", "value")
_OF_GLOBALS = "_global"


def wrong_output(call: Call, workload: Workload, *, has_float32_softmax: bool = False) -> str:
    """What is wrong with a call of a built-in kernel, in words; empty where nothing is.

    Memory is fresh and holds NaN while an attention runs. In training the gradients of its input
    are compared too, of a loss that depends on the sampled queries, and those of its parameters are
    to be finite.

    Args:
        call: as the kernel builds it.
        workload: what it was built for.
        has_float32_softmax: whether it is as accurate as float32 at best.

    Raises:
        MeasurementError: when its attentions are not those of the workload's layers.
    """
    import torch

    from attnprof.nn.checking.tolerance import Precision

    found = [module for module in call.module.modules() if _is_attention(module)]
    if len(found) != len(workload.layers):
        raise MeasurementError(
            f"{len(found)} attentions were found where the workload has {len(workload.layers)}"
        )
    dtype = getattr(torch, workload.dtype)
    if has_float32_softmax and dtype == torch.float64:
        dtype = torch.float32
    precision = Precision(dtype, max(workload.seq_len, workload.hidden_size))
    watches = [_Watch(module, index, workload, precision) for index, module in enumerate(found)]
    with ExitStack() as stack, torch.set_grad_enabled(workload.mode == "training"):
        for watch in watches:
            stack.callback(watch.close)
        output = call.forward()[:, : workload.seq_len]
    wrong = next((watch.wrong for watch in watches if watch.wrong), "")
    if wrong or bool(output.isfinite().all()):
        return wrong
    _, position, number = (~output.isfinite()).nonzero()[0].tolist()
    return f"output is not finite at position {position}, number {number}"


def _is_attention(module: nn.Module) -> bool:
    from torch import nn

    return all(isinstance(getattr(module, name, None), nn.Linear) for name in _PROJECTIONS)


class _Watch:
    """Compares one attention when it has run.

    Attributes:
        wrong: what is wrong with it, in words; empty where nothing is.
    """

    def __init__(
        self, module: nn.Module, index: int, workload: Workload, precision: Precision
    ) -> None:
        from attnprof.nn.checking.uninitialized_memory import tries

        self.wrong = ""
        self._tries = tries(workload.seq_len)
        self._precision = precision
        self._is_repeating = False
        self._workload = workload
        self._index = index
        self._memory = ExitStack()
        self._hooks = (
            module.register_forward_pre_hook(self._begin),
            module.register_forward_hook(self._compare, with_kwargs=True),
        )

    def close(self) -> None:
        """Watch no longer."""
        self._memory.close()
        for hook in self._hooks:
            hook.remove()

    def _begin(self, module: nn.Module, args: object) -> None:
        from attnprof.nn.checking.uninitialized_memory import holding_nan

        if self._is_repeating:
            return
        weight = cast("Tensor", module.get_parameter("query.weight"))
        self._memory.enter_context(holding_nan(weight.device, self._tries[0]))

    def _compare(
        self, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any
    ) -> None:
        import torch

        from attnprof.nn.checking.uninitialized_memory import holding_nan
        from attnprof.nn.encoder import only_output

        if self._is_repeating:
            return
        self._memory.close()
        outputs = [only_output(output)]
        self._is_repeating = True
        for unwritten in self._tries[1:]:
            with torch.no_grad(), holding_nan(outputs[0].device, unwritten):
                outputs.append(only_output(module(*args, **kwargs)))
        self._is_repeating = False
        hidden_states: Tensor = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        attention = _Attention(module, hidden_states, outputs, self._workload)
        wrong = attention.wrong(self._definition())
        if wrong and len(self._workload.layers) > 1:
            wrong = f"layer {self._index}: {wrong}"
        self.wrong = wrong

    def _definition(self) -> Definition:
        from attnprof.nn.checking.expected_outputs import Definition
        from attnprof.nn.checking.sampled_rows import sampled_rows

        workload = self._workload
        pattern = workload.layers[self._index]
        return Definition(
            pattern=pattern,
            seq_len=workload.seq_len,
            rows=sampled_rows(pattern, workload.seq_len),
            scale=workload.head_dim**-0.5,
            precision=self._precision,
        )


@dataclass(frozen=True, slots=True)
class _Attention:
    """One attention that has run: its input and outputs, `(batch, seq_len, hidden)`, padded."""

    module: nn.Module
    hidden_states: Tensor
    outputs: Sequence[Tensor]
    workload: Workload

    @property
    def output(self) -> Tensor:
        """The first of them."""
        return self.outputs[0]

    def wrong(self, definition: Definition) -> str:
        """What is wrong with it, in words; empty where nothing is."""
        import torch

        rows = torch.tensor(definition.rows, device=self.output.device)
        cotangent, gradient = None, None
        if self.workload.mode == "training":
            cotangent = self._cotangent(rows)
            gradient, wrong = self._gradient(rows, cotangent)
            if wrong:
                return wrong
        with torch.no_grad():
            for item in range(len(self.output)):
                expected = definition.expected(
                    self._projected(item, ""),
                    # without global tokens nothing is asked of it
                    self._projected(item, _OF_GLOBALS if self._has_globals(definition) else ""),
                    None if cotangent is None else self._heads(cotangent[item].double()),
                )
                found_outputs = (self._heads(output[item, rows]) for output in self.outputs)
                told = (definition.difference(output, expected) for output in found_outputs)
                wrong = next((text for text in told if text), "")
                if not wrong and gradient is not None:
                    found = {"hidden_states": gradient[item]}
                    wrong = definition.gradient_difference(found, expected)
                if wrong:
                    is_one = len(self.output) == 1
                    return wrong if is_one else f"sequence {item} of the batch: {wrong}"
        return ""

    def _has_globals(self, definition: Definition) -> bool:
        return bool(definition.pattern.global_positions)

    def _projected(self, item: int, suffix: str) -> ProjectedHeads:
        from attnprof.nn.checking.expected_outputs import ProjectedHeads

        weights = {
            name: (
                self.module.get_parameter(f"{name}{suffix}.weight").detach(),
                self.module.get_parameter(f"{name}{suffix}.bias").detach(),
            )
            for name in _PROJECTIONS
        }
        states = self.hidden_states.detach()[item, : self.workload.seq_len]
        return ProjectedHeads(states, weights, self.workload.num_heads)

    def _heads(self, rows: Tensor) -> Tensor:
        """`(heads, rows, head_dim)` from `(rows, hidden)`."""
        return rows.detach().unflatten(-1, (self.workload.num_heads, -1)).transpose(0, 1)

    def _cotangent(self, rows: Tensor) -> Tensor:
        """Random numbers for the sampled queries, `(batch, rows, hidden)`."""
        import torch

        generator = torch.Generator().manual_seed(_SEED)
        shape = (len(self.output), len(rows), self.output.shape[2])
        return torch.randn(shape, generator=generator, dtype=torch.float32).to(self.output)

    def _gradient(self, rows: Tensor, cotangent: Tensor) -> tuple[Tensor, str]:
        """That of the input at the rows, and which of the parameters' is not finite, in words."""
        import torch

        from attnprof.nn.checking.uninitialized_memory import holding_nan

        named = dict(self.module.named_parameters())
        whole = torch.zeros_like(self.output).index_copy(1, rows, cotangent)
        with holding_nan(self.output.device, "allocated"):
            of_input, *others = cast(
                "Sequence[Tensor | None]",
                torch.autograd.grad(
                    self.output, [self.hidden_states, *named.values()], whole, allow_unused=True
                ),
            )
        for name, gradient in zip(named, others, strict=True):
            if gradient is not None and not bool(gradient.isfinite().all()):
                return whole, f"gradient of {name} is not finite"
        if of_input is None:
            return whole, "gradient of hidden_states is missing"
        return of_input[:, rows], ""
