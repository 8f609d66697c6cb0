"""The model shapes that `--model` knows, with the numbers of their papers."""

from __future__ import annotations

from dataclasses import dataclass

from attnprof.core.errors import UsageError, suggest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The attention of a model, as values of the command line's options.

    A model with equal layers is costed as one layer; a model whose layers differ is costed as the
    stack of them.

    Attributes:
        name: the value of `--model`.
        title: its name in text.
        hidden_size: width of a layer.
        num_heads: heads of a layer.
        num_layers: layers of the model.
        window: as for `--window`; empty for the default.
        dilation: as for `--dilation`.
        global_tokens: as for `--global-tokens`.
        causal: whether no query attends to a later key.
        kv_heads: heads of keys and values; 0 for one for each query head.
        head_dim: width of a head; 0 for hidden_size / num_heads.
        value_dim: width of a head of values; 0 for head_dim.
        source: the paper with these numbers.
    """

    name: str
    title: str
    hidden_size: int
    num_heads: int
    num_layers: int
    window: str = "512"
    dilation: str = "1"
    global_tokens: str = "1"
    causal: bool = False
    kv_heads: int = 0
    head_dim: int = 0
    value_dim: int = 0
    source: str


MODELS = (
    ModelShape(
        name="bert-base",
        title="BERT-base",
        hidden_size=768,
        num_heads=12,
        num_layers=12,
        source="Devlin et al., arXiv 1810.04805, section 3",
    ),
    ModelShape(
        name="bert-large",
        title="BERT-large",
        hidden_size=1024,
        num_heads=16,
        num_layers=24,
        source="Devlin et al., arXiv 1810.04805, section 3",
    ),
    ModelShape(
        name="longformer-base-4096",
        title="Longformer-base",
        hidden_size=768,
        num_heads=12,
        num_layers=12,
        source="Beltagy et al., arXiv 2004.05150, section 5: window 512 at every layer",
    ),
    ModelShape(
        name="longformer-large-4096",
        title="Longformer-large",
        hidden_size=1024,
        num_heads=16,
        num_layers=24,
        source="Beltagy et al., arXiv 2004.05150, section 5: window 512 at every layer",
    ),
    # The paper states the windows of the first and the last layer, 32 and 512 in the first phase
    # of training (table 4), and the dilation of two heads in each layer (table 12, where 0 is 1
    # here). The windows between them, which double in steps, and the choice of heads are ours. The
    # paper's model is causal; this pattern is symmetric.
    ModelShape(
        name="longformer-char-lm",
        title="Longformer character model",
        hidden_size=512,
        num_heads=8,
        num_layers=12,
        window="32x2:64x2:128x2:256x3:512x3",
        dilation="/".join(["1"] * 6 + ["1x6:2x2"] * 2 + ["1x6:3x2"] * 2 + ["1x6:4x2"] * 2),
        global_tokens="0",
        source="Beltagy et al., arXiv 2004.05150, tables 4 and 12, small model",
    ),
)


def find_model_of_shape(hidden_size: int, num_heads: int) -> ModelShape | None:
    """The first model with layers of that width and that many heads; None if there is none."""
    shape = hidden_size, num_heads
    return next((model for model in MODELS if (model.hidden_size, model.num_heads) == shape), None)


def find_model(name: str) -> ModelShape:
    """The model of that name.

    Raises:
        UsageError: if there is none; the message suggests a similar name.
    """
    by_name = {model.name: model for model in MODELS}
    if name not in by_name:
        raise UsageError("model", name, f"unknown; {suggest(name, by_name)}")
    return by_name[name]
