"""The model shapes that `--model` knows, with the numbers of their papers and configs."""

from __future__ import annotations

from dataclasses import dataclass

from attnprof.core.errors import UsageError, suggest
from attnprof.core.notation import layer_pattern, parse_window
from attnprof.core.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The attention of a model, as values of the command line's options.

    A model with equal layers is costed as one layer; a model whose layers differ is costed as the
    stack of them, of whole layers if the output of its attention is not as wide as its input.

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
        source: the paper or config with these numbers.
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
    ModelShape(
        name="led-base",
        title="LED-base encoder",
        hidden_size=768,
        num_heads=12,
        num_layers=6,
        window="1024",
        source="allenai/led-base-16384; Beltagy et al., arXiv 2004.05150, section 7",
    ),
    ModelShape(
        name="modernbert-base",
        title="ModernBERT-base",
        hidden_size=768,
        num_heads=12,
        num_layers=22,
        window=":".join(["full:128x2"] * 7 + ["full"]),
        global_tokens="0",
        source="answerdotai/ModernBERT-base; Warner et al., arXiv 2412.13663, section 2.1.2",
    ),
    ModelShape(
        name="mistral-7b",
        title="Mistral-7B",
        hidden_size=4096,
        num_heads=32,
        num_layers=32,
        window="4096",
        global_tokens="0",
        causal=True,
        kv_heads=8,
        head_dim=128,
        source="mistralai/Mistral-7B-v0.1; Jiang et al., arXiv 2310.06825, table 1",
    ),
    ModelShape(
        name="gemma-3",
        title="Gemma-3-4B",
        hidden_size=2560,
        num_heads=8,
        num_layers=34,
        window=":".join(["1024x5:full"] * 5 + ["1024x4"]),
        global_tokens="0",
        causal=True,
        kv_heads=4,
        head_dim=256,
        source="google/gemma-3-4b-pt, text model; Gemma Team, arXiv 2503.19786, section 2",
    ),
    # Its attention sinks are learned scores, not tokens.
    ModelShape(
        name="gpt-oss-20b",
        title="gpt-oss-20b",
        hidden_size=2880,
        num_heads=64,
        num_layers=24,
        window=":".join(["128:full"] * 12),
        global_tokens="0",
        causal=True,
        kv_heads=8,
        head_dim=64,
        source="openai/gpt-oss-20b; OpenAI, arXiv 2508.10925, section 2",
    ),
    ModelShape(
        name="qwen3",
        title="Qwen3-8B",
        hidden_size=4096,
        num_heads=32,
        num_layers=36,
        window="full",
        global_tokens="0",
        causal=True,
        kv_heads=8,
        head_dim=128,
        source="Qwen/Qwen3-8B; Qwen Team, arXiv 2505.09388, table 1",
    ),
)


def find_model_of(workload: Workload) -> ModelShape | None:
    """The model with layers of a workload's sizes, of several the one with its windows.

    Otherwise the first whose layers are equal; None if there is none.
    """
    alike = [model for model in MODELS if _has_sizes(model, workload)]
    windows = [layer.window for layer in workload.layers]
    of_windows = (model for model in alike if _windows(model) in (windows, windows[:1]))
    equal = (model for model in alike if len(_windows(model)) == 1)
    return next(of_windows, None) or next(equal, None)


def _has_sizes(model: ModelShape, workload: Workload) -> bool:
    head_dim = model.head_dim or model.hidden_size // model.num_heads
    sizes = (
        model.hidden_size,
        model.num_heads,
        model.kv_heads or model.num_heads,
        head_dim,
        model.value_dim or head_dim,
    )
    return sizes == (
        workload.hidden_size,
        workload.num_heads,
        workload.kv_heads,
        workload.head_dim,
        workload.value_dim,
    )


def _windows(model: ModelShape) -> list[int | None]:
    """The window of each layer, or the one of all layers; None if dense."""
    causal = model.causal
    windows = parse_window(model.window, causal=causal)
    return [layer_pattern(window, num_heads=1, causal=causal).window for window in windows]


def find_model(name: str) -> ModelShape:
    """The model of that name.

    Raises:
        UsageError: if there is none; the message suggests a similar name.
    """
    by_name = {model.name: model for model in MODELS}
    if name not in by_name:
        raise UsageError("model", name, f"unknown; {suggest(name, by_name)}")
    return by_name[name]
