"""Checks the output of a built-in kernel against the definition of its pattern.

Every attention module of the call, in a stack and in whole layers too, is compared with the result
that its own weights and its own input should give. The rest of a whole layer, torch's projections,
norms and feed-forward, is only checked for values that are not finite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from attnprof.core.errors import MeasurementError
from attnprof.core.units import counted
from attnprof.core.workload import Workload
from attnprof.counting.call import CachedTokens, Call, CallCache

if TYPE_CHECKING:
    from torch import Tensor, nn

    from attnprof.nn.checking.decoded_heads import DecodedHeads
    from attnprof.nn.checking.expected_outputs import Definition
    from attnprof.nn.checking.sources import ProjectedHeads
    from attnprof.nn.checking.tolerance import Precision

_SEED = 20200410
_PROJECTIONS = ("query", "key", "value")
_DECODER_PROJECTIONS = ("q_proj", "k_proj", "v_proj")
"""Names of the same in transformers' decoders."""
_GLOBAL_SUFFIX = "_global"


def describe_wrong_output(
    call: Call, workload: Workload, *, has_float32_softmax: bool = False
) -> str:
    """Describe what is wrong with a call of a built-in kernel; empty if nothing is.

    Uninitialized memory holds NaN while an attention module runs. In training, the gradient of its
    input is compared too, for a loss that depends on the sampled queries, and the gradients of its
    parameters must be finite.

    Args:
        call: as the kernel builds it.
        workload: what it was built for.
        has_float32_softmax: whether its accuracy is at best that of float32.

    Raises:
        MeasurementError: when the number of attention modules is not the number of layers.
    """
    import torch

    from attnprof.nn.checking.tolerance import Precision

    attentions = [module for module in call.module.modules() if _projections_of(module)]
    if len(attentions) != len(workload.layers):
        raise MeasurementError(
            f"found {counted(len(attentions), 'attention module')} for "
            f"{counted(len(workload.layers), 'layer')}"
        )
    dtype = getattr(torch, workload.dtype)
    if has_float32_softmax and dtype == torch.float64:
        dtype = torch.float32
    precision = Precision(dtype, max(workload.seq_len, workload.hidden_size))
    checks = [
        _AttentionCheck(module, index, workload, precision, call.cache)
        for index, module in enumerate(attentions)
    ]
    with ExitStack() as stack, torch.set_grad_enabled(workload.mode == "training"):
        for check in checks:
            stack.callback(check.close)
        output = call.forward()[:, : workload.seq_len]
    wrong = next((check.wrong for check in checks if check.wrong), "")
    if wrong or bool(output.isfinite().all()):
        return wrong
    _, position, feature = (~output.isfinite()).nonzero()[0].tolist()
    return f"output is not finite at position {position}, feature {feature}"


def _projections_of(module: nn.Module) -> dict[str, str]:
    """The names of an attention's projections in its module, by those of `_PROJECTIONS`.

    Empty if the module is no attention.
    """
    from torch import nn

    for names in (_PROJECTIONS, _DECODER_PROJECTIONS):
        if all(isinstance(getattr(module, name, None), nn.Linear) for name in names):
            return dict(zip(_PROJECTIONS, names, strict=True))
    return {}


class _AttentionCheck:
    """Compares one attention module with its definition after it has run, through hooks.

    Attributes:
        wrong: description of what is wrong with it; empty if nothing is.
    """

    def __init__(
        self,
        module: nn.Module,
        index: int,
        workload: Workload,
        precision: Precision,
        cache: CallCache | None,
    ) -> None:
        from attnprof.nn.checking.uninitialized_memory import tries

        self.wrong = ""
        self._tries = tries(workload.seq_len)
        self._precision = precision
        self._is_repeating = False
        self._workload = workload
        self._index = index
        self._cache = cache
        self._memory = ExitStack()
        self._hooks = (
            module.register_forward_pre_hook(self._begin),
            module.register_forward_hook(self._compare, with_kwargs=True),
        )

    def close(self) -> None:
        """Remove the hooks."""
        self._memory.close()
        for hook in self._hooks:
            hook.remove()

    def _begin(self, module: nn.Module, args: object) -> None:
        from attnprof.nn.checking.uninitialized_memory import holding_nan

        if self._is_repeating:
            return
        weight = next(module.parameters())
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
            if self._cache is not None:
                self._cache.restore()
            with torch.no_grad(), holding_nan(outputs[0].device, unwritten):
                outputs.append(only_output(module(*args, **kwargs)))
        self._is_repeating = False
        hidden_states: Tensor = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        rotation: tuple[Tensor, Tensor] | None = kwargs.get("position_embeddings")
        earlier = None
        if self._cache is not None:
            self._cache.restore()
            earlier = self._cache.earlier(self._index)
        attention = _Attention(module, hidden_states, outputs, rotation, self._workload, earlier)
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
            rows=sampled_rows(pattern, workload.seq_len, workload.queries),
            scale=workload.head_dim**-0.5,
            precision=self._precision,
        )


@dataclass(frozen=True, slots=True)
class _Attention:
    """An attention module that has run.

    Attributes:
        module: with query, key and value projections.
        hidden_states: its input, `(batch, padded_seq_len, hidden_size)`.
        outputs: of repeated runs, each `(batch, padded_seq_len, output_width)`.
        rotation: cosines and sines of rotary position embeddings, `(1 or batch, padded_seq_len,
            head_dim)`; None for none.
        workload: what it was built for.
        earlier: its cached tokens, where it decodes.
    """

    module: nn.Module
    hidden_states: Tensor
    outputs: Sequence[Tensor]
    rotation: tuple[Tensor, Tensor] | None
    workload: Workload
    earlier: CachedTokens | None

    @property
    def output(self) -> Tensor:
        """The output of the first run."""
        return self.outputs[0]

    def wrong(self, definition: Definition) -> str:
        """Describe what is wrong with its outputs and gradients; empty if nothing is."""
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
                wrong = self._wrong_sequence(item, definition, rows, cotangent, gradient)
                if wrong:
                    is_single = len(self.output) == 1
                    return wrong if is_single else f"sequence {item} of the batch: {wrong}"
        return ""

    def _wrong_sequence(
        self,
        item: int,
        definition: Definition,
        rows: Tensor,
        cotangent: Tensor | None,
        gradient: Tensor | None,
    ) -> str:
        """Describe what is wrong with one sequence of the batch; empty if nothing is.

        Args:
            item: index of the sequence.
            definition: what the module should compute.
            rows: positions of the sampled queries.
            cotangent: gradient of the loss at them, `(batch, rows, output_width)`; None outside
                training.
            gradient: gradient of the input at them, `(batch, rows, hidden_size)`; None outside
                training.
        """
        # Without global tokens the global projections are not used.
        has_globals = bool(definition.pattern.symmetric_globals)
        expected = definition.expected(
            self._source(item),
            self._projected(item, _GLOBAL_SUFFIX if has_globals else ""),
            None if cotangent is None else self._heads(cotangent[item].double()),
        )
        for output in self.outputs:
            wrong = definition.difference(self._heads(output[item, rows - self._first]), expected)
            if wrong:
                return wrong
        if gradient is None:
            return ""
        return definition.gradient_difference({"hidden_states": gradient[item]}, expected)

    @property
    def _first(self) -> int:
        """Position of the first query: 0, or that of the first new token."""
        return self.workload.seq_len - self.workload.queries

    def _source(self, item: int) -> ProjectedHeads | DecodedHeads:
        """Queries, keys and values of a sequence of the batch."""
        from attnprof.nn.checking.decoded_heads import CachedHeads, DecodedHeads
        from attnprof.nn.checking.sources import GivenHeads

        projected = self._projected(item, "")
        if not self._first:
            return projected
        if self.earlier is None:  # no new token attends to an earlier one
            return DecodedHeads(projected, self._first, None)
        key, value = self.earlier.key[item], self.earlier.value[item]
        # The heads of queries are as many as the query's; it is used for nothing else.
        query = key.repeat_interleave(self.workload.num_heads // len(key), 0)[:, :0]
        earlier = CachedHeads(GivenHeads(query, key, value), self.earlier.positions)
        return DecodedHeads(projected, self._first, earlier)

    def _projected(self, item: int, suffix: str) -> ProjectedHeads:
        from attnprof.nn.checking.sources import ProjectedHeads, Projection

        n, heads = self.workload.queries, self.workload.num_heads
        rotation = None
        if self.rotation is not None:
            cos, sin = (tensor[item % len(tensor), :n] for tensor in self.rotation)
            rotation = (cos, sin)
        projections: dict[str, Projection] = {}
        for name, attribute in _projections_of(self.module).items():
            linear = cast("nn.Linear", self.module.get_submodule(f"{attribute}{suffix}"))
            # typed as a tensor, but None without a bias
            bias = cast("Tensor | None", linear.bias)
            projections[name] = Projection(
                weight=linear.weight.detach(),
                bias=None if bias is None else bias.detach(),
                heads=heads if name == "query" else self.workload.kv_heads,
                rotation=None if name == "value" else rotation,
            )
        return ProjectedHeads(self.hidden_states.detach()[item, :n], projections)

    def _heads(self, rows: Tensor) -> Tensor:
        """`(num_heads, rows, value_dim)` from `(rows, output_width)`."""
        return rows.detach().unflatten(-1, (self.workload.num_heads, -1)).transpose(0, 1)

    def _cotangent(self, rows: Tensor) -> Tensor:
        """Random numbers for the sampled queries, `(batch, rows, output_width)`."""
        import torch

        generator = torch.Generator().manual_seed(_SEED)
        shape = (len(self.output), len(rows), self.output.shape[2])
        return torch.randn(shape, generator=generator, dtype=torch.float32).to(self.output)

    def _gradient(self, rows: Tensor, cotangent: Tensor) -> tuple[Tensor, str]:
        """The gradient of the input at the rows, and what is wrong with any gradient.

        Args:
            rows: positions of the sampled queries.
            cotangent: gradient of the loss at them, `(batch, rows, output_width)`.
        """
        import torch

        from attnprof.nn.checking.uninitialized_memory import holding_nan

        named = dict(self.module.named_parameters())
        grad_output = torch.zeros_like(self.output).index_copy(1, rows, cotangent)
        with holding_nan(self.output.device, "allocated"):
            of_input, *of_parameters = cast(
                "Sequence[Tensor | None]",
                torch.autograd.grad(
                    self.output,
                    [self.hidden_states, *named.values()],
                    grad_output,
                    allow_unused=True,
                ),
            )
        for name, gradient in zip(named, of_parameters, strict=True):
            if gradient is not None and not bool(gradient.isfinite().all()):
                return grad_output, f"gradient of {name} is not finite"
        if of_input is None:
            return grad_output, "gradient of hidden_states is missing"
        return of_input[:, rows], ""
