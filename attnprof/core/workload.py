"""`Workload`: one attention call whose cost is computed or measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast, get_args

from attnprof.core.errors import UsageError, suggest
from attnprof.core.pattern import AttentionPattern, AttentionStack, Pattern, whole_number
from attnprof.core.units import format_tokens

if TYPE_CHECKING:
    from torch import Tensor

Mode = Literal["inference", "training"]
Scope = Literal["attention", "layer"]
Device = Literal["cpu", "cuda"]
DType = Literal["float32", "float64", "bfloat16", "float16"]

FEED_FORWARD_FACTOR = 4
"""Width of the feed-forward divided by hidden_size, as in BERT (arXiv 1810.04805, section 3) and
Longformer."""

DTYPE_BYTES: dict[DType, int] = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}


def _choice(argument: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(argument, value, f"unknown; {suggest(str(value), choices)}")


@dataclass(frozen=True, slots=True)
class Workload:
    """One attention call: a pattern at a length, with shape, dtype, device and mode.

    The call takes hidden states `(batch_size, seq_len, hidden_size)` and returns the same shape.

    Attributes:
        pattern: an `AttentionPattern`, or an `AttentionStack` of several layers.
        seq_len: tokens in each sequence.
        hidden_size: width of the layer, a multiple of the pattern's number of heads.
        batch_size: sequences in one call.
        dtype: `float32`, `float64`, `bfloat16` or `float16`.
        device: `cpu` or `cuda`.
        mode: `inference` (eval, no gradients) or `training` (forward and backward; the input
            requires a gradient too, as it does inside a network).
        scope: the part of each layer: `attention` is the query, key and value projections and the
            attention; `layer` adds the output projection, the feed-forward, and the residuals
            with layer norms, as in transformers' `BertLayer`.

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

    def __post_init__(self) -> None:
        for argument in ("seq_len", "hidden_size", "batch_size"):
            number = whole_number(
                argument, getattr(self, argument), 1, "must be a positive whole number"
            )
            object.__setattr__(self, argument, number)
        if self.hidden_size % self.pattern.num_heads:
            raise UsageError(
                "num_heads",
                self.pattern.num_heads,
                f"must divide hidden_size {self.hidden_size}",
            )
        _choice("dtype", self.dtype, get_args(DType))
        _choice("device", self.device, get_args(Device))
        _choice("mode", self.mode, get_args(Mode))
        _choice("scope", self.scope, get_args(Scope))
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
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden_size // self.num_heads

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
        dense = AttentionPattern.dense(self.num_heads)
        pattern: Pattern = dense
        if len(self.layers) > 1:
            pattern = AttentionStack(layers=(dense,) * len(self.layers))
        return replace(self, pattern=pattern)

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
