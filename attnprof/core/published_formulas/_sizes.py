"""The sizes of a model as published formulas take them."""

from __future__ import annotations

from dataclasses import dataclass

from attnprof.core import formulas
from attnprof.core.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSizes:
    """Arguments of published formulas.

    Attributes:
        layers: L.
        heads: H, of queries.
        kv_heads: heads of keys and values.
        head_dim: width of a head of queries and keys.
        value_dim: width of a head of values.
        hidden_size: D.
        feed_forward: width of the feed-forward.
        seq_len: T, tokens of a sequence.
        batch_size: sequences of a call.
        parameters: N, of all layers, without embeddings and output logits.
        vocab_size: rows of the embedding and of the output logits; 0 for layers alone.
        is_causal: whether no query attends to a later key.
        is_training: whether the call has a backward pass.
    """

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    hidden_size: int
    feed_forward: int
    seq_len: int
    batch_size: int
    parameters: int
    vocab_size: int = 0
    is_causal: bool = False
    is_training: bool = False

    @classmethod
    def of(cls, workload: Workload, vocab_size: int = 0) -> ModelSizes:
        """The sizes of a workload.

        Args:
            workload: in mode `inference` or `training`.
            vocab_size: 0 for layers alone.
        """
        sets = sum(2 if layer.symmetric_globals else 1 for layer in workload.layers)
        return cls(
            layers=len(workload.layers),
            heads=workload.num_heads,
            kv_heads=workload.kv_heads,
            head_dim=workload.head_dim,
            value_dim=workload.value_dim,
            hidden_size=workload.hidden_size,
            feed_forward=workload.intermediate_size,
            seq_len=workload.seq_len,
            batch_size=workload.batch_size,
            parameters=formulas.parameters(workload, sets),
            vocab_size=vocab_size,
            is_causal=workload.pattern.causal,
            is_training=workload.mode == "training",
        )

    @property
    def tokens(self) -> int:
        """Tokens of all sequences."""
        return self.batch_size * self.seq_len

    @property
    def logit_weights(self) -> int:
        """Weights of the output logits, as many as of the embedding."""
        return self.vocab_size * self.hidden_size

    @property
    def passes(self) -> int:
        """Products of a call in units of the forward pass: 1, or 3 in training."""
        return formulas.TRAINING_FACTOR if self.is_training else 1
