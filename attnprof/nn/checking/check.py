"""`check_attention`: checks a function that computes attention against its pattern's definition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from attnprof.core.errors import UsageError, suggest
from attnprof.core.pattern import AttentionPattern
from attnprof.core.units import format_tokens
from attnprof.core.workload import DTYPE_BYTES
from attnprof.nn.checking.expected_outputs import Definition
from attnprof.nn.checking.sampled_rows import sampled_rows
from attnprof.nn.checking.sources import GivenHeads
from attnprof.nn.checking.tolerance import Precision
from attnprof.nn.checking.uninitialized_memory import holding_nan, tries

_SEED = 20200410
_CONTRAST = 2.0
"""Standard deviation of the scores. Attention weights then differ enough for a missing one to be
found."""

_NAMES = ("query", "key", "value")


def check_attention(
    function: Callable[..., Tensor],
    pattern: AttentionPattern,
    seq_len: int | Sequence[int],
    *,
    batch_size: int = 2,
    head_dim: int = 16,
    value_dim: int | None = None,
    kv_heads: int | None = None,
    dtype: str | torch.dtype = "float32",
    device: str = "cpu",
    scale: float | None = None,
    global_projections: bool = False,
    gradients: bool = False,
    tolerance: float | None = None,
) -> None:
    """Check that a function computes the attention of a pattern; for tests of custom kernels.

    The function is called with random queries, keys and values. Its output is compared with
    softmax attention in float64 under `pattern.mask`: for every query of sequences of up to 256
    tokens, and in longer ones for those where kernels tend to be wrong: at both ends, at edges of
    blocks, at global tokens, and at some random positions. During the calls newly allocated memory
    contains NaN, so that a kernel that reads memory it has not written is found.

    The tolerance is derived for each head and query, see `attnprof.nn.checking.tolerance`. Relative
    to the output it is about 1e-5 in float32, 1e-14 in float64, 3e-3 in float16 and 2e-2 in
    bfloat16, and less if a query attends to many keys.

    Args:
        function: called as `function(query, key, value)`: queries `(batch, heads, seq_len,
            head_dim)`, keys `(batch, kv_heads, seq_len, head_dim)` and values `(batch, kv_heads,
            seq_len, value_dim)`; it must return the output `(batch, heads, seq_len, value_dim)` in
            the dtype of the queries.
        pattern: the pattern to be computed, which has the number of heads.
        seq_len: tokens; or a sequence of lengths, which are checked one after the other.
        batch_size: sequences in the batch.
        head_dim: width of a head of queries and keys.
        value_dim: width of a head of values; `head_dim` if None.
        kv_heads: heads of keys and values, a divisor of those of queries, each shared by
            neighbouring query heads; as many as of queries if None.
        dtype: `float32`, `float64`, `bfloat16` or `float16`, as a string or a `torch.dtype`.
        device: `cpu` or `cuda`.
        scale: factor of the scores; `head_dim ** -0.5` if None.
        global_projections: whether global tokens have separate queries and attend to separate keys
            and values, as in Longformer: the function is then also called with the keyword
            arguments `global_query`, `global_key` and `global_value`, shaped as the others. Not
            for a causal pattern, whose global tokens are attention sinks.
        gradients: whether to compare the gradients of all inputs too, at the same positions.
        tolerance: the largest permitted absolute difference of an element, in place of the derived
            tolerance.

    Raises:
        AssertionError: if the output, or a gradient, is wrong; the message is one line that names
            the position and head with the largest error.
        ValueError: if an argument is not what its description says.
    """
    lengths = [seq_len] if isinstance(seq_len, int) else list(seq_len)
    if not lengths:
        raise UsageError("seq_len", "()", "needs at least one length")
    torch_dtype = _torch_dtype(dtype)
    heads = pattern.num_heads
    if kv_heads is not None and (kv_heads < 1 or heads % kv_heads):
        raise UsageError("kv_heads", kv_heads, f"must divide the pattern's {heads} heads")
    if global_projections and pattern.causal:
        expected = "must be False: the global tokens of a causal pattern have no projections"
        raise UsageError("global_projections", global_projections, expected)
    if tolerance is not None and not tolerance > 0:
        raise UsageError("tolerance", tolerance, "must be a positive number")
    for length in lengths:
        pattern.pairs(length)  # raises if a global position is outside the sequence
        attention = Definition(
            pattern=pattern,
            seq_len=length,
            rows=sampled_rows(pattern, length),
            scale=head_dim**-0.5 if scale is None else scale,
            precision=Precision(torch_dtype, max(length, head_dim), tolerance),
        )
        of_keys = (batch_size, kv_heads or heads, length)
        shapes = {
            "query": (batch_size, heads, length, head_dim),
            "key": (*of_keys, head_dim),
            "value": (*of_keys, value_dim or head_dim),
        }
        inputs = _inputs(shapes, torch_dtype, torch.device(device), global_projections, gradients)
        problem = _find_problem(function, inputs, attention, gradients=gradients)
        if problem:
            name = str(torch_dtype).removeprefix("torch.")
            raise AssertionError(f"{problem} ({format_tokens(length)}, {name})")


def _torch_dtype(dtype: str | torch.dtype) -> torch.dtype:
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPE_BYTES:
        raise UsageError("dtype", dtype, f"unknown; {suggest(name, DTYPE_BYTES)}")
    return cast("torch.dtype", getattr(torch, name))


def _inputs(
    shapes: Mapping[str, Sequence[int]],
    dtype: torch.dtype,
    device: torch.device,
    with_globals: bool,
    with_gradients: bool,
) -> dict[str, Tensor]:
    """Random inputs by the names of the function's arguments, the same at each call."""
    generator = torch.Generator().manual_seed(_SEED)
    names = [*_NAMES, *(f"global_{name}" for name in _NAMES if with_globals)]
    inputs: dict[str, Tensor] = {}
    for name in names:
        shape = shapes[name.removeprefix("global_")]
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        if name.endswith("query"):
            values = values * _CONTRAST
        inputs[name] = values.to(device, dtype).requires_grad_(with_gradients)
    return inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    """What a function returned, at the sampled rows.

    Attributes:
        outputs: of each call, `(batch, heads, rows, value_dim)`.
        cotangent: the gradient of the output at these rows, of its shape; None without gradients.
        gradients: of the inputs at these rows, by name; empty without gradients.
    """

    outputs: Sequence[Tensor]
    cotangent: Tensor | None
    gradients: Mapping[str, Tensor]


def _find_problem(
    function: Callable[..., Tensor],
    inputs: dict[str, Tensor],
    attention: Definition,
    *,
    gradients: bool,
) -> str:
    """What is wrong with the function, as text; empty if nothing is."""
    query = inputs["query"]
    outputs, problem = _call_repeatedly(function, inputs, attention.seq_len, gradients=gradients)
    if problem:
        return problem
    if gradients and not outputs[-1].requires_grad:
        return "output has no gradient"
    rows = torch.tensor(attention.rows, device=query.device)
    cotangent = _random_cotangent(outputs[-1], len(rows)) if gradients else None
    results = _Results(
        outputs=[output.detach()[:, :, rows] for output in outputs],
        cotangent=cotangent,
        gradients={} if cotangent is None else _gradients(inputs, outputs[-1], rows, cotangent),
    )
    for item in range(len(query)):
        of_item = {name: tensor.detach()[item] for name, tensor in inputs.items()}
        problem = _find_problem_of_sequence(of_item, results, item, attention)
        if problem:
            return problem if len(query) == 1 else f"sequence {item} of the batch: {problem}"
    return ""


def _call_repeatedly(
    function: Callable[..., Tensor], inputs: dict[str, Tensor], seq_len: int, *, gradients: bool
) -> tuple[list[Tensor], str]:
    """The outputs of several calls, and what is wrong with the shape or dtype of the last."""
    query, value = inputs["query"], inputs["value"]
    expected = query.new_empty((*query.shape[:3], value.shape[3]), device="meta")
    of_globals = {name: tensor for name, tensor in inputs.items() if name not in _NAMES}
    outputs: list[Tensor] = []
    for unwritten in tries(seq_len):
        with torch.set_grad_enabled(gradients), holding_nan(query.device, unwritten):
            outputs.append(function(*(inputs[name] for name in _NAMES), **of_globals))
        problem = _shape_problem(outputs[-1], expected)
        if problem:
            return outputs, problem
    return outputs, ""


def _random_cotangent(output: Tensor, rows: int) -> Tensor:
    """The gradient of the output at the sampled rows, `(batch, heads, rows, value_dim)`."""
    generator = torch.Generator().manual_seed(_SEED + 1)
    shape = (*output.shape[:2], rows, output.shape[3])
    return torch.randn(shape, generator=generator).to(output.detach())


def _gradients(
    inputs: dict[str, Tensor], output: Tensor, rows: Tensor, cotangent: Tensor
) -> dict[str, Tensor]:
    """Gradients of the inputs at the sampled rows; 0 for an input that was not used."""
    grad_output = torch.zeros_like(output).index_copy(2, rows, cotangent)
    with holding_nan(output.device, "allocated"):
        gradients = cast(
            "Sequence[Tensor | None]",
            torch.autograd.grad(output, list(inputs.values()), grad_output, allow_unused=True),
        )
    return {
        name: (torch.zeros_like(inputs[name]) if gradient is None else gradient)[:, :, rows]
        for name, gradient in zip(inputs, gradients, strict=True)
    }


def _find_problem_of_sequence(
    inputs: dict[str, Tensor], results: _Results, item: int, attention: Definition
) -> str:
    """What is wrong with the results for sequence `item`, as text; empty if nothing is.

    `inputs` are those of this sequence, `(heads, seq_len, width)`.
    """
    expected = attention.expected(
        _heads(inputs, ""),
        _heads(inputs, "global_" if "global_query" in inputs else ""),
        None if results.cotangent is None else results.cotangent[item].double(),
    )
    for output in results.outputs:
        problem = attention.difference(output[item], expected)
        if problem:
            return problem
    if not results.gradients:
        return ""
    gradients = {name: gradient[item] for name, gradient in results.gradients.items()}
    return attention.gradient_difference(gradients, expected)


def _heads(inputs: dict[str, Tensor], prefix: str) -> GivenHeads:
    """Queries, keys and values with that prefix to their names."""
    query, key, value = (inputs[f"{prefix}{name}"] for name in _NAMES)
    return GivenHeads(query, key, value, prefix)


def _shape_problem(output: object, expected: Tensor) -> str:
    """How an output differs from a tensor in type, shape or dtype; empty if it does not."""
    if not isinstance(output, Tensor):
        return f"returns {type(output).__name__}, not a tensor"
    if output.shape != expected.shape or output.dtype != expected.dtype:
        names = [str(tensor.dtype).removeprefix("torch.") for tensor in (output, expected)]
        return (
            f"returns {names[0]} {tuple(output.shape)}, not {names[1]} {tuple(expected.shape)}: "
            "the queries' type and shape, with the values' width"
        )
    return ""
