"""How many tokens a model has positions for, part by part: that of the text, of the decoder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from attnprof.core.workload import Workload
from attnprof.kernels.custom.inputs import InputSpec

_OF_TOKENS = ("input_ids", "inputs_embeds")
_DECODER = "decoder_"
_ON_A_PAGE = re.compile(r"[xyhw]_position")
"""Places of words on a page, as in LayoutLM, which the length does not move."""


@dataclass(frozen=True, slots=True)
class PositionTable:
    """A table of absolute positions.

    Attributes:
        tokens: that it has room for.
        is_of_decoder: whether they are those of a decoder beside an encoder.
    """

    tokens: int
    is_of_decoder: bool


def position_tables(model: Any) -> tuple[PositionTable, ...]:
    """The tables of the parts of a transformers model that take tokens.

    Images and sound have tables too: what does not fit there fails by itself in transformers.
    """
    tables: list[PositionTable] = []
    inputs: dict[str, str] = {}
    for path, module in model.named_modules():
        above, _, leaf = path.rpartition(".")
        inputs[path] = getattr(module, "main_input_name", inputs.get(above, _OF_TOKENS[0]))
        is_table = isinstance(module, nn.Embedding) and ("position" in leaf or leaf == "wpe")
        if not is_table or _ON_A_PAGE.match(leaf) or inputs[path] not in _OF_TOKENS:
            continue
        in_decoder = model.config.is_encoder_decoder and "decoder" in path.split(".")
        tables.append(PositionTable(_room(module), in_decoder))
    return tuple(tables)


def _room(table: nn.Embedding) -> int:
    """Positions are counted from behind the padding's, or from a fixed offset."""
    padding = -1 if table.padding_idx is None else table.padding_idx
    return table.num_embeddings - int(getattr(table, "offset", padding + 1))


def exceeded(
    tables: Iterable[PositionTable], inputs: Mapping[str, InputSpec], workload: Workload
) -> int | None:
    """The room of a table that the workload's tokens do not fit into; None where all do."""
    for table in tables:
        prefix = _DECODER * table.is_of_decoder
        for name in _OF_TOKENS:
            spec = inputs.get(f"{prefix}{name}")
            if spec and len(spec.dimensions) > 1 and spec.dimensions[1].at(workload) > table.tokens:
                return table.tokens
    return None
