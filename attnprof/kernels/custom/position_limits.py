"""How many tokens a transformers model has positions for: its encoder, its decoder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from attnprof.core.workload import Workload
from attnprof.kernels.custom.inputs import InputSpec

_OF_TOKENS = ("input_ids", "inputs_embeds")
_DECODER_PREFIX = "decoder_"
_PAGE_COORDINATE = re.compile(r"[xyhw]_position")
"""Tables of coordinates of words on a page, as in LayoutLM: no limit on the length."""


@dataclass(frozen=True, slots=True)
class PositionTable:
    """A table of absolute position embeddings.

    Attributes:
        tokens: the longest sequence that it has positions for.
        is_of_decoder: whether it belongs to the decoder of an encoder-decoder model.
    """

    tokens: int
    is_of_decoder: bool


def position_tables(model: Any) -> tuple[PositionTable, ...]:
    """The position tables of those parts of a transformers model that take tokens.

    Not those for images and sound: transformers itself raises where these are too short.
    """
    tables: list[PositionTable] = []
    inputs: dict[str, str] = {}
    for path, module in model.named_modules():
        above, _, leaf = path.rpartition(".")
        inputs[path] = getattr(module, "main_input_name", inputs.get(above, _OF_TOKENS[0]))
        is_table = isinstance(module, nn.Embedding) and ("position" in leaf or leaf == "wpe")
        if not is_table or _PAGE_COORDINATE.match(leaf) or inputs[path] not in _OF_TOKENS:
            continue
        in_decoder = model.config.is_encoder_decoder and "decoder" in path.split(".")
        tables.append(PositionTable(_max_tokens(module), in_decoder))
    return tuple(tables)


def _max_tokens(table: nn.Embedding) -> int:
    """Its rows after the padding row, or after a fixed offset, where positions start."""
    padding = -1 if table.padding_idx is None else table.padding_idx
    return table.num_embeddings - int(getattr(table, "offset", padding + 1))


def exceeded(
    tables: Iterable[PositionTable], inputs: Mapping[str, InputSpec], workload: Workload
) -> int | None:
    """The tokens of the first table that is too short for the workload; None where none is.

    Args:
        tables: position tables of the model.
        inputs: descriptions of its inputs, by name.
        workload: the call.
    """
    for table in tables:
        prefix = _DECODER_PREFIX if table.is_of_decoder else ""
        for name in _OF_TOKENS:
            spec = inputs.get(f"{prefix}{name}")
            if spec and len(spec.dimensions) > 1 and spec.dimensions[1].at(workload) > table.tokens:
                return table.tokens
    return None
