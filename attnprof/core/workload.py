"""`Workload`: one attention call whose cost is computed or measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast, get_args

from attnprof.core.arguments import whole_number
from attnprof.core.errors import UsageError, suggest
from attnprof.core.pattern import AttentionPattern, Pattern
from attnprof.core.pattern_stack import AttentionStack
from attnprof.core.units import format_tokens

if TYPE_CHECKING:
    from torch import Tensor

Mode = Literal["inference", "training", "decode"]
Scope = Literal["attention", "layer"]
Device = Literal["cpu", "cuda"]
DType = Literal["float32", "float64", "bfloat16", "float16"]

FEED_FORWARD_FACTOR = 4
"""Width of the feed-forward divided by hidden_size, as in BERT (arXiv 1810.04805, section 3) and
Longformer."""

DTYPE_BYTES: dict[DType, int] = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}

_POSITIVE = "must be a positive whole number"


def _choice(argument: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(argument, value, f"unknown; {suggest(str(value), choices)}")


@dataclass(frozen=True, slots=True)
class Workload:
    """One attention call: a pattern at a length, with shape, dtype, device and mode.

    The call takes hidden states `(batch_size, queries, hidden_size)` and returns
    `(batch_size, queries, num_heads * value_dim)`, with scope `layer` the shape of its input.
    `queries` is `seq_len` except in mode `decode`.

    Attributes:
        pattern: an `AttentionPattern`, or an `AttentionStack` of several layers.
        seq_len: tokens in each sequence, all of them keys.
        hidden_size: width of the hidden states; a multiple of the number of heads, unless
            `head_dim` is given.
        batch_size: sequences in one call.
        dtype: `float32`, `float64`, `bfloat16` or `float16`.
        device: `cpu` or `cuda`.
        mode: `inference` (eval, no gradients), `training` (forward and backward; the input
            requires a gradient too, as it does inside a network), or `decode` (the last
            `new_tokens` tokens are new; keys and values of those before are in a cache).
        scope: the part of each layer: `attention` is the query, key and value projections and the
            attention; `layer` adds the output projection, the feed-forward, and the residuals
            with layer norms, as in transformers' `BertLayer`.
        kv_heads: heads of keys and values, a divisor of the number of query heads that share them
            (grouped-query attention, arXiv 2305.13245); 0 for one for each query head.
        head_dim: width of a head of queries and keys; 0 for hidden_size / num_heads.
        value_dim: width of a head of values; 0 for head_dim.
        new_tokens: in mode `decode`, queries of the call, which are the last tokens of the
            sequence; 0 for one. In other modes 0.

    Raises:
        UsageError: (a `ValueError`) if a value is not what its description says, or a global
            position is outside the sequence.
    """

    pattern: Pattern
    seq_len: int
    hidden_size: int = 768
    batch_size: int = 1
    dtype: DType = "float32"
    device: Device = "cpu"
    mode: Mode = "inference"
    scope: Scope = "attention"
    kv_heads: int = 0
    head_dim: int = 0
    value_dim: int = 0
    new_tokens: int = 0

    def __post_init__(self) -> None:
        for argument in ("seq_len", "hidden_size", "batch_size"):
            number = whole_number(argument, getattr(self, argument), 1, _POSITIVE)
            object.__setattr__(self, argument, number)
        _choice("dtype", self.dtype, get_args(DType))
        _choice("device", self.device, get_args(Device))
        _choice("mode", self.mode, get_args(Mode))
        _choice("scope", self.scope, get_args(Scope))
        self._resolve_heads()
        self._resolve_new_tokens()
        last = max(layer.last_position for layer in self.pattern.layers)
        if last >= self.seq_len:
            raise UsageError(
                "global_positions", last, f"is outside a sequence of {format_tokens(self.seq_len)}"
            )

    @property
    def num_heads(self) -> int:
        """Heads of each layer."""
        return self.pattern.num_heads

    @property
    def queries(self) -> int:
        """Queries of each sequence: all tokens, or in mode `decode` the new ones."""
        return self.new_tokens or self.seq_len

    @property
    def query_width(self) -> int:
        """Width of the queries of all heads."""
        return self.num_heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Width of the keys of all heads."""
        return self.kv_heads * self.head_dim

    @property
    def value_width(self) -> int:
        """Width of the values of all heads."""
        return self.kv_heads * self.value_dim

    @property
    def output_width(self) -> int:
        """Width of the attention's output, all heads together."""
        return self.num_heads * self.value_dim

    @property
    def has_equal_widths(self) -> bool:
        """Whether queries, keys and values are as wide as the hidden states, as in BERT."""
        widths = {self.query_width, self.key_width, self.value_width, self.output_width}
        return widths == {self.hidden_size}

    @property
    def pairs(self) -> int:
        """Attended pairs, (head, query, key), in all layers of one sequence."""
        return self.pattern.pairs(self.seq_len, self.queries)

    @property
    def intermediate_size(self) -> int:
        """Width of the feed-forward of a layer, 4 * hidden_size."""
        return FEED_FORWARD_FACTOR * self.hidden_size

    @property
    def dtype_bytes(self) -> int:
        """Bytes of one element of the dtype."""
        return DTYPE_BYTES[self.dtype]

    @property
    def layers(self) -> tuple[AttentionPattern, ...]:
        """The pattern of each layer, bottom first."""
        return self.pattern.layers

    @property
    def is_dense(self) -> bool:
        """Whether every layer is dense by definition."""
        return all(layer.is_dense for layer in self.layers)

    def densified(self) -> Workload:
        """The same call with dense attention in every layer, the baseline of a sparse pattern."""
        dense = AttentionPattern.dense(self.num_heads, causal=self.pattern.causal)
        pattern: Pattern = dense
        if len(self.layers) > 1:
            pattern = AttentionStack(layers=(dense,) * len(self.layers))
        return replace(self, pattern=pattern)

    def _resolve_heads(self) -> None:
        """Replace the 0 of `kv_heads`, `head_dim` and `value_dim` by what it stands for."""
        heads = self.num_heads
        for argument in ("kv_heads", "head_dim", "value_dim"):
            number = whole_number(argument, getattr(self, argument), 0, _POSITIVE)
            object.__setattr__(self, argument, number)
        if not self.head_dim:
            if self.hidden_size % heads:
                expected = f"must divide hidden_size {self.hidden_size}"
                raise UsageError("num_heads", heads, expected)
            object.__setattr__(self, "head_dim", self.hidden_size // heads)
        object.__setattr__(self, "kv_heads", self.kv_heads or heads)
        object.__setattr__(self, "value_dim", self.value_dim or self.head_dim)
        if heads % self.kv_heads:
            raise UsageError("kv_heads", self.kv_heads, f"must divide num_heads {heads}")

    def _resolve_new_tokens(self) -> None:
        number = whole_number("new_tokens", self.new_tokens, 0, _POSITIVE)
        if self.mode != "decode":
            if number:
                raise UsageError("new_tokens", number, "needs mode decode")
        elif number > self.seq_len:
            expected = f"must be at most the sequence, {format_tokens(self.seq_len)}"
            raise UsageError("new_tokens", number, expected)
        else:
            number = number or 1
        object.__setattr__(self, "new_tokens", number)

    def at(self, seq_len: int) -> Workload:
        """The same call at another length in tokens."""
        return replace(self, seq_len=seq_len)


@dataclass(frozen=True, slots=True)
class Case:
    """One kernel on one workload."""

    kernel: str
    workload: Workload


def dtype_name(tensor: Tensor) -> DType:
    """The name of a tensor's dtype: `float32` for `torch.float32`."""
    return cast("DType", str(tensor.dtype).removeprefix("torch."))
