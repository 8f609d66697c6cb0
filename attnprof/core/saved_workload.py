"""Workloads of saved results, from what identifies them in a row or a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from attnprof.core.errors import UsageError
from attnprof.core.notation import (
    MAX_REPEATS,
    layer_pattern,
    parse_dilation,
    parse_global_tokens,
    parse_window,
)
from attnprof.core.option_values import MAX_NUMBER
from attnprof.core.pattern import AttentionPattern, Pattern
from attnprof.core.pattern_stack import AttentionStack
from attnprof.core.saved_masks import SavedMask
from attnprof.core.typed_json import UnexpectedError
from attnprof.core.workload import Device, DType, Mode, Scope, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedWorkload:
    """What identifies the workload of a row or a record, as `identity_of` has it.

    Attributes:
        layers: None in files of earlier versions, as are the attributes after it.
    """

    seq_len: int
    window: str
    dilation: str
    global_tokens: str
    hidden_size: int
    num_heads: int
    batch_size: int
    dtype: DType
    device: Device
    mode: Mode
    layers: int | None = None
    scope: Scope | None = None
    causal: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    value_dim: int | None = None
    new_tokens: int | None = None
    pattern: str | None = None

    def workload(self, masks: Mapping[str, SavedMask]) -> Workload:
        """The workload.

        Args:
            masks: what is known of mask functions, by their texts.

        Raises:
            UsageError: for a value that no workload has.
        """
        return Workload(
            self._pattern(masks),
            self.seq_len,
            hidden_size=self.hidden_size,
            batch_size=self.batch_size,
            dtype=self.dtype,
            device=self.device,
            mode=self.mode,
            scope=self.scope or "attention",
            kv_heads=self.kv_heads or 0,
            head_dim=self.head_dim or 0,
            value_dim=self.value_dim or 0,
            new_tokens=self.new_tokens or 0,
        )

    def _pattern(self, masks: Mapping[str, SavedMask]) -> Pattern:
        layers = self.layers or 1
        for name, number in (("num_heads", self.num_heads), ("layers", layers)):
            if number > MAX_REPEATS:
                raise UsageError(name, number, f"must be at most {MAX_REPEATS:,}")
        if self.seq_len > MAX_NUMBER:
            raise UsageError("seq_len", self.seq_len, f"must be at most {MAX_NUMBER:,}")
        causal = bool(self.causal)
        if self.pattern:
            mask = masks.get(self.pattern, SavedMask()).pattern(
                self.pattern, self.num_heads, causal=causal
            )
            return mask if layers == 1 else AttentionStack(layers=(mask,) * layers)
        if not self.window:
            dense = AttentionPattern.dense(self.num_heads, causal=causal)
            return dense if layers == 1 else AttentionStack(layers=(dense,) * layers)
        windows = parse_window(self.window, causal=causal)
        strides = parse_dilation(self.dilation, self.num_heads, len(windows))
        positions = parse_global_tokens(self.global_tokens)
        stack = tuple(
            layer_pattern(window, heads, positions, num_heads=self.num_heads, causal=causal)
            for window, heads in zip(windows, strides, strict=True)
        )
        return stack[0] if len(stack) == 1 else AttentionStack(layers=stack)


def saved_workload(
    saved: SavedWorkload, path: str, masks: Mapping[str, SavedMask] = MappingProxyType({})
) -> Workload:
    """The workload.

    Args:
        saved: what identifies it.
        path: of it in its file, for messages.
        masks: what is known of mask functions, by their texts.

    Raises:
        UnexpectedError: for a value that no workload has.
    """
    try:
        return saved.workload(masks)
    except UsageError as error:
        raise UnexpectedError(f"{path}.{error}") from error
