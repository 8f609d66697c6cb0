"""Windows that configs and modules declare, layer by layer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from attnprof.counting.declared_windows import DeclaredWindow, declared_windows


class Attention(nn.Module):
    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)


def model(config: SimpleNamespace | None, num_layers: int = 4, **attributes: Any) -> nn.Module:
    """A model with a config, and layers `layers.0.attn` with attributes."""
    outer = nn.Module()
    layers = nn.ModuleList(
        nn.ModuleDict({"attn": Attention(**attributes)}) for _ in range(num_layers)
    )
    outer.add_module("layers", layers)
    if config is not None:
        outer.config = config  # pyright: ignore[reportAttributeAccessIssue]
    return outer


def sizes(root: nn.Module, num_layers: int = 4) -> list[int | None]:
    paths = [f"layers.{index}.attn" for index in range(num_layers)]
    found = declared_windows(root, paths)
    return [found[path].size if path in found else None for path in paths]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"sliding_window": 8}, [8, 8, 8, 8]),
        ({"sliding_window": None}, [None] * 4),
        ({"sliding_window": 8, "use_sliding_window": False}, [None] * 4),
        (
            {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 3},
            [None, None, None, 8],
        ),
        (
            {
                "layer_types": [
                    "full_attention",
                    "sliding_attention",
                    "chunked_attention",
                    "other",
                ],
                "sliding_window": 8,
                "attention_chunk_size": 16,
            },
            [None, 8, 16, None],
        ),
        ({"local_attention": 8, "global_attn_every_n_layers": 3}, [None, 8, 8, None]),
        ({"attention_layers": ["global", "local"] * 2, "window_size": 8}, [None, 8, None, 8]),
        ({"attention_type": "original_full", "block_size": 8, "num_random_blocks": 1}, [None] * 4),
        ({"attention_type": "block_sparse", "block_size": 8, "num_random_blocks": 1}, [8] * 4),
    ],
    ids=str,
)
def test_a_config_decides_by_layer(config: dict[str, Any], expected: list[int | None]) -> None:
    assert sizes(model(SimpleNamespace(**config))) == expected


def test_only_what_computes_a_window_has_longformers() -> None:
    config = SimpleNamespace(attention_window=[8, 8, 8, 8])
    assert sizes(model(config)) == [None] * 4
    halved = model(config, one_sided_attn_window_size=4)
    assert declared_windows(halved, ["layers.1.attn"]) == {
        "layers.1.attn": DeclaredWindow("attention_window", 8, reach=5)
    }


def test_decoders_and_attention_to_another_sequence_have_no_window_of_the_encoder() -> None:
    blocks = SimpleNamespace(attention_type="block_sparse", block_size=8, num_random_blocks=1)
    assert sizes(model(blocks, is_decoder=True)) == [None] * 4
    crossing = model(SimpleNamespace(sliding_window=8))
    assert declared_windows(crossing, ["layers.0.encoder_attn", "layers.0.cross_attn"]) == {}


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ({"window_size": 8}, 8),
        ({"window_size": (7, 0)}, 7),
        ({"sliding_window": None, "window": 4}, 4),
        ({"window": True}, None),
        ({"window": -1}, None),
        ({"window": "8"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_an_own_module_declares_a_window_as_an_attribute(
    attributes: dict[str, Any], size: int | None
) -> None:
    assert sizes(model(None, **attributes)) == [size] * 4


def test_a_layer_that_knows_its_number_is_found_without_a_path() -> None:
    kinds = ["full_attention", "full_attention", "sliding_attention"]
    config = SimpleNamespace(layer_types=kinds, sliding_window=8)
    part = Attention(config=config, layer_idx=2)
    assert declared_windows(part, [""]) == {"": DeclaredWindow("sliding_window", 8, reach=8)}
