"""`check_attention`: a function that computes attention against the definition of its pattern."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from attnprof.core.errors import UsageError, suggest
from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import DTYPE_BYTES
from attnprof.nn.checking.expected_outputs import Definition, GivenHeads
from attnprof.nn.checking.sampled_rows import sampled_rows
from attnprof.nn.checking.tolerance import Precision
from attnprof.nn.checking.uninitialized_memory import holding_nan, tries

_SEED = 20200410
_CONTRAST = 2.0
"""Standard deviation of the scores: weights differ, so that none of them goes missing unseen."""

_NAMES = ("query", "key", "value")


def check_attention(
    function: Callable[..., Tensor],
    pattern: AttentionPattern,
    seq_len: int | Sequence[int],
    *,
    batch_size: int = 2,
    head_dim: int = 16,
    dtype: str | torch.dtype = "float32",
    device: str = "cpu",
    scale: float | None = None,
    global_projections: bool = False,
    gradients: bool = False,
    tolerance: float | None = None,
) -> None:
    """Check that a function computes a pattern's attention: for a test of a kernel of your own.

    Random queries, keys and values go in. What comes out is compared with softmax attention in
    float64 under `pattern.mask`: in sequences of up to 256 tokens every query, in longer ones
    those where kernels err: borders, edges of blocks, global tokens, the last tokens, and some at
    random. Meanwhile fresh memory holds NaN, so that a kernel that reads what it never wrote is
    found out.

    How far right numbers may be off is derived for each head and query, see
    `attnprof.nn.checking.tolerance`: relative to the numbers, about 1e-5 in float32, 1e-14 in
    float64, 3e-3 in float16 and 2e-2 in bfloat16, and less where a query attends to many keys.

    Args:
        function: called as `function(query, key, value)`, each `(batch, heads, seq_len,
            head_dim)`; returns the output in that shape and dtype.
        pattern: what it is to compute; it says how many heads there are.
        seq_len: tokens; or several lengths, which are checked one after the other.
        batch_size: sequences.
        head_dim: width of a head.
        dtype: `float32`, `float64`, `bfloat16` or `float16`, or torch's.
        device: `cpu` or `cuda`.
        scale: factor of the scores; `head_dim ** -0.5` if None.
        global_projections: whether global tokens have queries of their own and attend to keys and
            values of their own, as in Longformer: the function is then also given `global_query`,
            `global_key` and `global_value`, shaped as the others.
        gradients: also compare the gradients of all inputs, at the same positions.
        tolerance: the largest difference of a number, in place of the derived one.

    Raises:
        AssertionError: what comes out is wrong; one line that names the worst place.
        ValueError: an argument is not what its description says.
    """
    lengths = [seq_len] if isinstance(seq_len, int) else list(seq_len)
    if not lengths:
        raise UsageError("seq_len", "()", "needs one length or more")
    chosen = _dtype(dtype)
    if tolerance is not None and not tolerance > 0:
        raise UsageError("tolerance", tolerance, "a positive number")
    for length in lengths:
        pattern.pairs(length)  # refuses what is no length of the pattern
        width = head_dim if scale is None else 1.0
        attention = Definition(
            pattern=pattern,
            seq_len=length,
            rows=sampled_rows(pattern, length),
            scale=width**-0.5 if scale is None else scale,
            precision=Precision(chosen, max(length, head_dim), tolerance),
        )
        shape = (batch_size, pattern.num_heads, length, head_dim)
        inputs = _inputs(shape, chosen, torch.device(device), global_projections, gradients)
        wrong = _wrong(function, inputs, attention, gradients=gradients)
        if wrong:
            name = str(chosen).removeprefix("torch.")
            raise AssertionError(f"{wrong} ({length:,} tokens, {name})")


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPE_BYTES:
        raise UsageError("dtype", dtype, suggest(name, DTYPE_BYTES))
    return cast("torch.dtype", getattr(torch, name))


def _inputs(
    shape: Sequence[int],
    dtype: torch.dtype,
    device: torch.device,
    with_globals: bool,
    with_gradients: bool,
) -> dict[str, Tensor]:
    """Random numbers by the names of the function's arguments, the same each time."""
    generator = torch.Generator().manual_seed(_SEED)
    names = [*_NAMES, *(f"global_{name}" for name in _NAMES if with_globals)]
    inputs: dict[str, Tensor] = {}
    for name in names:
        numbers = torch.randn(*shape, generator=generator, dtype=torch.float64)
        numbers = numbers * (_CONTRAST if name.endswith("query") else 1.0)
        inputs[name] = numbers.to(device, dtype).requires_grad_(with_gradients)
    return inputs


def _wrong(
    function: Callable[..., Tensor],
    inputs: dict[str, Tensor],
    attention: Definition,
    *,
    gradients: bool,
) -> str:
    """What is wrong with the function, in words; empty where nothing is."""
    query = inputs["query"]
    rows = torch.tensor(attention.rows, device=query.device)
    of_globals = {name: tensor for name, tensor in inputs.items() if name not in _NAMES}
    outputs: list[Tensor] = []
    for unwritten in tries(attention.seq_len):
        with torch.set_grad_enabled(gradients), holding_nan(query.device, unwritten):
            outputs.append(function(*(inputs[name] for name in _NAMES), **of_globals))
        wrong = _misshapen(outputs[-1], query)
        if wrong:
            return wrong
    output = outputs[-1]
    cotangent = None
    of_inputs: dict[str, Tensor] = {}
    if gradients:
        if not output.requires_grad:
            return "output has no gradient"
        generator = torch.Generator().manual_seed(_SEED + 1)
        shape = (*query.shape[:2], len(rows), query.shape[3])
        cotangent = torch.randn(shape, generator=generator).to(query)
        whole = torch.zeros_like(output).index_copy(2, rows, cotangent)
        with holding_nan(query.device, "allocated"):
            found = cast(
                "Sequence[Tensor | None]",
                torch.autograd.grad(output, list(inputs.values()), whole, allow_unused=True),
            )
        of_inputs = {
            name: torch.zeros_like(query[:, :, rows]) if one is None else one[:, :, rows]
            for name, one in zip(inputs, found, strict=True)
        }
    for item in range(len(query)):
        own = {name: tensor.detach()[item] for name, tensor in inputs.items()}
        expected = attention.expected(
            _heads(own, ""),
            _heads(own, "global_" if "global_query" in own else ""),
            None if cotangent is None else cotangent[item].double(),
        )
        found_outputs = (one.detach()[item][:, rows] for one in outputs)
        told = (attention.difference(one, expected) for one in found_outputs)
        wrong = next((text for text in told if text), "")
        if not wrong and of_inputs:
            own_gradients = {name: one[item] for name, one in of_inputs.items()}
            wrong = attention.gradient_difference(own_gradients, expected)
        if wrong:
            return wrong if len(query) == 1 else f"sequence {item} of the batch: {wrong}"
    return ""


def _heads(inputs: dict[str, Tensor], prefix: str) -> GivenHeads:
    query, key, value = (inputs[f"{prefix}{name}"] for name in _NAMES)
    return GivenHeads(query, key, value, prefix)


def _misshapen(output: object, query: Tensor) -> str:
    if not isinstance(output, Tensor):
        return f"returns {type(output).__name__}, not a tensor"
    if output.shape != query.shape or output.dtype != query.dtype:
        name = str(output.dtype).removeprefix("torch.")
        expected = str(query.dtype).removeprefix("torch.")
        return (
            f"returns {name} {tuple(output.shape)}, not {expected} {tuple(query.shape)}, as the "
            "query is"
        )
    return ""
