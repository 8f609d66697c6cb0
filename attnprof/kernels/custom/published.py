"""Published models by name: their Hugging Face configs, so that nothing has to be downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedConfig:
    """The config of a published model, as far as its costs depend on it.

    Attributes:
        name: what users type.
        source: whose config it is, and the paper or report with its numbers.
        values: the content of `config.json`; what is left out has transformers' default.
        inputs: descriptions of inputs that differ from those of other models.
    """

    name: str
    source: str
    values: Mapping[str, object]
    inputs: tuple[str, ...] = field(default=())


_PUBLISHED = (
    PublishedConfig(
        name="mistral-7b",
        source="mistralai/Mistral-7B-v0.1; Jiang et al., arXiv 2310.06825, table 1",
        values={
            "model_type": "mistral",
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "sliding_window": 4096,
            "vocab_size": 32000,
            "max_position_embeddings": 32768,
        },
    ),
    PublishedConfig(
        name="gemma-3",
        source="google/gemma-3-4b-pt, its text model; Gemma Team, arXiv 2503.19786, section 2",
        values={
            "model_type": "gemma3_text",
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "num_hidden_layers": 34,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 1024,
            "sliding_window_pattern": 6,
            "vocab_size": 262208,
            "max_position_embeddings": 131072,
        },
    ),
    PublishedConfig(
        name="gpt-oss-20b",
        source="openai/gpt-oss-20b; OpenAI, arXiv 2508.10925, section 2",
        values={
            "model_type": "gpt_oss",
            "hidden_size": 2880,
            "intermediate_size": 2880,
            "num_hidden_layers": 24,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
            "head_dim": 64,
            "sliding_window": 128,
            "num_local_experts": 32,
            "num_experts_per_tok": 4,
            "vocab_size": 201088,
            "max_position_embeddings": 131072,
        },
    ),
    PublishedConfig(
        name="modernbert-base",
        source="answerdotai/ModernBERT-base; Warner et al., arXiv 2412.13663, table 4",
        values={
            "model_type": "modernbert",
            "hidden_size": 768,
            "intermediate_size": 1152,
            "num_hidden_layers": 22,
            "num_attention_heads": 12,
            "local_attention": 128,
            "global_attn_every_n_layers": 3,
            "vocab_size": 50368,
            "max_position_embeddings": 8192,
        },
    ),
    PublishedConfig(
        name="qwen3",
        source="Qwen/Qwen3-8B; Qwen Team, arXiv 2505.09388, table 1",
        values={
            "model_type": "qwen3",
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "use_sliding_window": False,
            "max_window_layers": 36,
            "vocab_size": 151936,
            "max_position_embeddings": 40960,
        },
    ),
    PublishedConfig(
        name="led-base",
        source="allenai/led-base-16384; Beltagy et al., arXiv 2004.05150, section 7",
        values={
            "model_type": "led",
            "d_model": 768,
            "encoder_layers": 6,
            "decoder_layers": 6,
            "encoder_attention_heads": 12,
            "decoder_attention_heads": 12,
            "encoder_ffn_dim": 3072,
            "decoder_ffn_dim": 3072,
            "attention_window": [1024] * 6,
            "vocab_size": 50265,
            "max_encoder_position_embeddings": 16384,
            "max_decoder_position_embeddings": 1024,
        },
        inputs=("decoder_input_ids=batch,1024:int64<50265",),
    ),
    PublishedConfig(
        name="longformer-base-4096",
        source="allenai/longformer-base-4096; Beltagy et al., arXiv 2004.05150, section 5",
        values={
            "model_type": "longformer",
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "attention_window": [512] * 12,
            "vocab_size": 50265,
            "max_position_embeddings": 4098,
            "type_vocab_size": 1,
            "pad_token_id": 1,
        },
    ),
    PublishedConfig(
        name="bert-base",
        source="google-bert/bert-base-uncased; Devlin et al., arXiv 1810.04805, section 3",
        values={
            "model_type": "bert",
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "vocab_size": 30522,
            "max_position_embeddings": 512,
        },
    ),
)

PUBLISHED: Mapping[str, PublishedConfig] = {config.name: config for config in _PUBLISHED}
"""By name."""
