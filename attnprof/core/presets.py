"""Named shapes: models whose attention people ask about, by the numbers of their papers."""

from __future__ import annotations

from dataclasses import dataclass

from attnprof.core.errors import UsageError, suggest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The attention of a model, in the words of the command line's options.

    Layers that are all alike are costed once, as one layer; a model whose layers differ is costed
    as the stack of them.

    Attributes:
        name: what `--model` takes.
        hidden_size: width of a layer.
        num_heads: heads of a layer.
        num_layers: layers of the whole model.
        window: as `--window` takes it, empty for the default.
        dilation: as `--dilation` takes it.
        global_tokens: as `--global-tokens` takes it.
        source: where the numbers are from.
    """

    name: str
    hidden_size: int
    num_heads: int
    num_layers: int
    window: str = "512"
    dilation: str = "1"
    global_tokens: str = "1"
    source: str


MODELS = (
    ModelShape(
        name="bert-base",
        hidden_size=768,
        num_heads=12,
        num_layers=12,
        source="Devlin et al., arXiv 1810.04805, section 3",
    ),
    ModelShape(
        name="bert-large",
        hidden_size=1024,
        num_heads=16,
        num_layers=24,
        source="Devlin et al., arXiv 1810.04805, section 3",
    ),
    ModelShape(
        name="longformer-base-4096",
        hidden_size=768,
        num_heads=12,
        num_layers=12,
        source="Beltagy et al., arXiv 2004.05150, section 5: window 512 at every layer",
    ),
    ModelShape(
        name="longformer-large-4096",
        hidden_size=1024,
        num_heads=16,
        num_layers=24,
        source="Beltagy et al., arXiv 2004.05150, section 5: window 512 at every layer",
    ),
    # The paper names the ends, 32 at the bottom and 512 at the top in the first phase of training
    # (table 4), and the dilations of two heads by layer (table 12, where 0 is our 1). The widths in
    # between, doubling in steps, and the heads are chosen here. Causal there, symmetric here.
    ModelShape(
        name="longformer-char-lm",
        hidden_size=512,
        num_heads=8,
        num_layers=12,
        window="32x2:64x2:128x2:256x3:512x3",
        dilation="/".join(["1"] * 6 + ["1x6:2x2"] * 2 + ["1x6:3x2"] * 2 + ["1x6:4x2"] * 2),
        global_tokens="0",
        source="Beltagy et al., arXiv 2004.05150, tables 4 and 12, small model",
    ),
)


def find_model(name: str) -> ModelShape:
    """The model of that name.

    Raises:
        UsageError: when there is none; says what is near.
    """
    by_name = {model.name: model for model in MODELS}
    if name not in by_name:
        raise UsageError("model", name, f"unknown; {suggest(name, by_name)}")
    return by_name[name]
