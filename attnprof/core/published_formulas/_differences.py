"""What published formulas add to the useful MACs or leave out, each in closed form.

Of one forward pass of all sequences and layers. b = batch, n = tokens, L = layers, H = heads, K =
heads of keys and values, d = head_dim, e = value_dim, D = hidden_size, F = width of the
feed-forward, g = global tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from attnprof.core import formulas
from attnprof.core.mac_terms import total_macs
from attnprof.core.pattern import AttentionPattern
from attnprof.core.published_formulas._sizes import ModelSizes
from attnprof.core.workload import Workload

Differences = Mapping[str, Fraction]
"""MACs by name; negative where a formula leaves something out."""

CAUSAL_IN_FULL = "causal attention counted in full"
WITHOUT_WINDOWS = "sparse pattern counted as dense"
HALF_DIAGONAL = "diagonal of the causal half counted by half"
LATER_KEYS = "attention to later keys not counted"
HEAD_WIDTHS = "heads counted with another width"
GROUPED_HEADS = "grouped heads counted as one per query head"
BIASES = "biases and layer norms counted as products"
GLOBAL_QUERIES = "global queries counted for every token"
GLOBAL_PROJECTIONS = "global projections not counted"
OUTSIDE_SCOPE = "output projection and feed-forward, outside this scope"
LOGITS = "output logits, outside the layers"
EMBEDDING = "embedding lookup counted as a product"
ATTENTION = "attention not counted"
WEIGHTS = "products with weights not counted"
SOFTMAX = "softmax counted"
RECOMPUTED = "scores computed again in the backward pass"


def dense_pairs(workload: Workload, *, causal: bool) -> int:
    """Pairs of all layers if each were dense."""
    dense = AttentionPattern.dense(workload.num_heads, causal=causal)
    return len(workload.layers) * dense.pairs(workload.seq_len)


def without_windows(workload: Workload) -> int:
    """MACs of the pairs outside the pattern that dense attention has, causal or not."""
    outside = dense_pairs(workload, causal=workload.pattern.causal) - workload.pairs
    return _per_pair(workload) * outside


def causal_in_full(workload: Workload) -> int:
    """MACs of all later keys, b (d + e) L H (n^2 - n) / 2, if attention is causal; else 0."""
    if not workload.pattern.causal:
        return 0
    later = dense_pairs(workload, causal=False) - dense_pairs(workload, causal=True)
    return _per_pair(workload) * later


def causal_half(workload: Workload) -> dict[str, Fraction]:
    """What half of n^2 is off by: the diagonal, or all later keys of attention to both sides."""
    half = Fraction(dense_pairs(workload, causal=False), 2)
    missed = half - dense_pairs(workload, causal=workload.pattern.causal)
    name = HALF_DIAGONAL if workload.pattern.causal else LATER_KEYS
    return {name: _per_pair(workload) * missed}


def counted_widths(workload: Workload, width: int) -> int:
    """Dense attention that counts d + e as `width`: b L H n^2 (width - d - e)."""
    pairs = dense_pairs(workload, causal=False)
    excess = width - workload.head_dim - workload.value_dim
    return workload.batch_size * pairs * excess


def biases(workload: Workload) -> int:
    """One MAC for each token and each parameter of biases and layer norms."""
    widths = workload.query_width + workload.key_width + workload.value_width
    sets = len(workload.layers) + _layers_with_globals(workload)
    others = sets * widths
    if workload.scope == "layer":
        hidden = workload.hidden_size
        others += len(workload.layers) * (2 * hidden + workload.intermediate_size + 4 * hidden)
    return workload.batch_size * workload.seq_len * others


def global_queries(workload: Workload) -> int:
    """MACs of global queries of tokens that are not global: b (n - g) D H d a layer with any."""
    g = formulas.num_globals(workload)
    rows = workload.batch_size * (workload.seq_len - g) * _layers_with_globals(workload)
    return rows * workload.hidden_size * workload.query_width


def global_projections(workload: Workload) -> int:
    """The second set of projections."""
    forward = formulas.global_projection_terms(workload)
    return total_macs(forward) // ModelSizes.of(workload).passes


def products_with_weights(workload: Workload) -> int:
    """All products with weights that the definition has."""
    return total_macs(formulas.weight_terms(workload)) // ModelSizes.of(workload).passes


def attention(workload: Workload) -> int:
    """Scores and context of the attended pairs: b (d + e) for each."""
    return _per_pair(workload) * workload.pairs


def outside_scope(workload: Workload) -> int:
    """MACs of formulas for whole layers beyond scope `attention`: b n L (H d D + 2 D F)."""
    if workload.scope == "layer":
        return 0
    hidden = workload.hidden_size
    weights = workload.query_width * hidden + 2 * hidden * workload.intermediate_size
    return workload.batch_size * workload.seq_len * len(workload.layers) * weights


def value_widths(workload: Workload, heads: int) -> int:
    """MACs of projections of values that are counted as wide as keys, b n L D (d - e) a head.

    Args:
        workload: the call.
        heads: of values; in scope `layer` the output projection has one for each query head.
    """
    rows = workload.batch_size * workload.seq_len * len(workload.layers)
    per_head = workload.hidden_size * (workload.head_dim - workload.value_dim)
    output_heads = workload.num_heads if workload.scope == "layer" else 0
    return rows * per_head * (heads + output_heads)


def named(sizes: ModelSizes, forward: Mapping[str, Fraction | int]) -> dict[str, Fraction]:
    """The differences of a whole call that are not 0, from those of the forward pass."""
    return {name: Fraction(macs * sizes.passes) for name, macs in forward.items() if macs}


def _per_pair(workload: Workload) -> int:
    return workload.batch_size * (workload.head_dim + workload.value_dim)


def _layers_with_globals(workload: Workload) -> int:
    return sum(bool(layer.symmetric_globals) for layer in workload.layers)
