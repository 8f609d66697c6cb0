"""The shape of a layer that options describe: a named model, and the sizes that replace its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from attnprof.core.errors import UsageError
from attnprof.core.notation import MAX_REPEATS
from attnprof.core.option_values import read_whole_number
from attnprof.core.presets import ModelShape, find_model

DEFAULT_MODEL = "bert-base"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a layer, as options give them.

    Attributes:
        model: the model that the options name.
        hidden_size: width of the hidden states.
        num_heads: heads of queries.
        kv_heads: heads of keys and values; 0 for one for each query head.
        head_dim: width of a head; 0 for hidden_size / num_heads.
        value_dim: width of a head of values; 0 for head_dim.
        batch_size: sequences in one call.
        causal: whether no query attends to a later key.
        new_tokens: queries in mode `decode`; 0 for one, and in other modes.
    """

    model: ModelShape
    hidden_size: int
    num_heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    batch_size: int
    causal: bool
    new_tokens: int

    @property
    def output_width(self) -> int:
        """Width of the attention's output, all heads together."""
        head_dim = self.head_dim or self.hidden_size // self.num_heads
        return self.num_heads * (self.value_dim or head_dim)

    @property
    def has_equal_widths(self) -> bool:
        """Whether queries, keys and values are as wide as the hidden states, as in BERT."""
        is_grouped = self.kv_heads not in (0, self.num_heads)
        head_dim = self.head_dim or self.hidden_size // self.num_heads
        widths = {self.hidden_size, self.num_heads * head_dim, self.output_width}
        return len(widths) == 1 and not is_grouped

    @property
    def global_tokens(self) -> str:
        """The default of `--global-tokens`: the model's, where it is causal or not as it is."""
        return self.model.global_tokens if self.model.causal == self.causal else "0"


def read_shape(options: Mapping[str, object]) -> Shape:
    """The shape that options describe.

    Args:
        options: by name; None is a default.

    Raises:
        UsageError: for the first value that cannot be used, with the name of its option.
    """
    model = find_model(cast("str | None", options.get("model")) or DEFAULT_MODEL)
    num_heads = read_whole_number(options, "num_heads", model.num_heads)
    if num_heads > MAX_REPEATS:
        raise UsageError("num_heads", num_heads, f"must be at most {MAX_REPEATS:,}")
    hidden_size = read_whole_number(options, "hidden_size", model.hidden_size)
    head_dim = _optional(options, "head_dim", model.head_dim)
    if not head_dim and hidden_size % num_heads:
        if options.get("num_heads") is None:
            expected = f"must be a multiple of {num_heads} (heads)"
            raise UsageError("hidden_size", hidden_size, expected)
        raise UsageError("num_heads", num_heads, f"must divide hidden_size {hidden_size}")
    # A model's groups belong to its own heads.
    is_models_own = options.get("num_heads") is None
    kv_heads = _optional(options, "kv_heads", model.kv_heads if is_models_own else 0)
    if kv_heads and num_heads % kv_heads:
        raise UsageError("kv_heads", kv_heads, f"must divide num_heads {num_heads}")
    new_tokens = _optional(options, "new_tokens", 0)
    if new_tokens and options.get("mode") != "decode":
        raise UsageError("new_tokens", new_tokens, "needs --mode decode")
    return Shape(
        model=model,
        hidden_size=hidden_size,
        num_heads=num_heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        value_dim=_optional(options, "value_dim", model.value_dim),
        batch_size=read_whole_number(options, "batch_size", 1),
        causal=_read_causal(options, model),
        new_tokens=new_tokens,
    )


def _optional(options: Mapping[str, object], name: str, default: int) -> int:
    """A positive number, or the default, which may be 0."""
    return default if options.get(name) is None else read_whole_number(options, name, 1)


def _read_causal(options: Mapping[str, object], model: ModelShape) -> bool:
    value = options.get("causal")
    if value is None:
        # Cached keys and values cannot depend on later tokens.
        return model.causal or options.get("mode") == "decode"
    if not isinstance(value, bool):
        raise UsageError("causal", value, "must be True or False")
    return value
