"""Useful MACs and parameters in closed form: what a pattern needs, whatever a kernel executes.

With scope `attention`, a layer is what transformers' `BertSelfAttention` computes: the query, key
and value projections and the attention itself. With scope `layer`, it is `BertLayer`: also the
output projection, and the feed-forward, which is four times as wide. b = batch, n = seq_len (in
mode `decode`, m = new_tokens takes its place as the number of queries), D = hidden_size, H = heads,
K = heads of keys and values, d = head_dim, e = value_dim, g = number of global positions,
F = width of the feed-forward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from attnprof.core.mac_terms import Factor, MacTerm, Part, total_macs

if TYPE_CHECKING:
    from attnprof.core.pattern import AttentionPattern
    from attnprof.core.workload import Workload

TRAINING_FACTOR = 3
"""MACs of forward and backward, in units of the forward: a product C = A B has the gradients
dA = dC B' and dB = A' dC, each with as many MACs as C. Nothing is recomputed."""

FORWARD_PRODUCTS = 2
"""Matrix products of attention in the forward pass: scores and context."""

BACKWARD_PRODUCTS = 5
"""Matrix products of fused attention in the backward pass: the scores again, and the gradients of
weights, values, queries and keys."""


def term(
    workload: Workload,
    part: Part,
    name: str,
    factors: Iterable[Factor | int],
    *,
    passes: Factor | int | None = None,
    layers: Factor | int | None = None,
) -> MacTerm:
    """A term of all sequences of a batch, and of several layers.

    Args:
        workload: the call.
        part: the kind of work.
        name: what is computed, in words.
        factors: of one sequence and one layer; an integer has no symbol.
        passes: how often the product is computed; None for once in inference, and in training
            once more for the gradient of each of its two inputs.
        layers: how many compute it; None for all layers of the workload.
    """
    repeats = (
        training_passes(workload) if passes is None else passes,
        factor_of_layers(workload, len(workload.layers)) if layers is None else layers,
        Factor("b", workload.batch_size),
    )
    every = [
        factor if isinstance(factor, Factor) else Factor("", factor)
        for factor in (*repeats, *factors)
    ]
    shown = [factor for factor in every if factor != Factor("", 1)]
    shown.sort(key=lambda factor: bool(factor.symbol))  # plain numbers first, as in 3·b·n·D²
    return MacTerm(part, name, tuple(shown))


def factor_of_layers(workload: Workload, count: int) -> Factor | int:
    """L, which formulas of a single layer do not have."""
    return Factor("L", count) if len(workload.layers) > 1 else 1


def training_passes(workload: Workload) -> Factor | int:
    """How often a product is computed if nothing is recomputed: once, or T = 3 times."""
    return Factor("T", TRAINING_FACTOR) if workload.mode == "training" else 1


def projection_terms(workload: Workload) -> list[MacTerm]:
    """Query, key and value projections of all new tokens.

    3 b n D^2 a layer; with grouped heads or free widths b n D (H d + K d + K e).
    """
    new, width = queries(workload), Factor("D", workload.hidden_size)
    if workload.has_equal_widths:
        square = Factor("D", workload.hidden_size, 2)
        return [term(workload, "projections", "Q, K, V projections", [3, new, square])]
    kv_heads, head_dim = Factor("K", workload.kv_heads), Factor("d", workload.head_dim)
    shapes = [("Q projection", [Factor("H", workload.num_heads), head_dim])]
    if workload.value_dim == workload.head_dim:
        shapes.append(("K, V projections", [Factor("2K", 2 * workload.kv_heads), head_dim]))
    else:
        shapes.append(("K projection", [kv_heads, head_dim]))
        shapes.append(("V projection", [kv_heads, Factor("e", workload.value_dim)]))
    return [term(workload, "projections", name, [new, width, *factors]) for name, factors in shapes]


def global_projection_terms(workload: Workload) -> list[MacTerm]:
    """The second set of projections, for global tokens, in layers that have any.

    b (2 n + g) D^2 a layer; with grouped heads b D (g H d + n K (d + e)). Keys and values of all
    tokens, queries of the global tokens only (Longformer, arXiv 2004.05150, section 3.1;
    transformers' `LongformerSelfAttention`). None without global tokens, and none for attention
    sinks.
    """
    g = num_globals(workload)
    if not g:
        return []
    layers = layers_with_globals(workload)
    if workload.has_equal_widths:
        rows = Factor("(2n+g)", 2 * workload.seq_len + g)
        factors = [rows, Factor("D", workload.hidden_size, 2)]
        return [term(workload, "global_tokens", "global projections", factors, layers=layers)]
    width = Factor("D", workload.hidden_size)
    of_queries = [Factor("g", g), width, Factor("(Hd)", workload.query_width)]
    of_keys = [
        tokens(workload),
        width,
        Factor("(Kd+Ke)", workload.key_width + workload.value_width),
    ]
    return [
        term(workload, "global_tokens", "global Q projection", of_queries, layers=layers),
        term(workload, "global_tokens", "global K, V projections", of_keys, layers=layers),
    ]


def rest_of_layer_terms(workload: Workload) -> list[MacTerm]:
    """A whole layer outside its attention: b n H e D and 2 b n D F; none with scope `attention`."""
    if workload.scope == "attention":
        return []
    new, width = queries(workload), Factor("D", workload.hidden_size)
    feed_forward = (2, new, width, Factor("F", workload.intermediate_size))
    output: tuple[Factor, ...] = (new, Factor("D", workload.hidden_size, 2))
    if workload.output_width != workload.hidden_size:
        output = (new, Factor("H", workload.num_heads), value_factor(workload), width)
    return [
        term(workload, "output_projection", "output projection", output),
        term(workload, "feed_forward", "feed-forward", feed_forward),
    ]


def weight_terms(workload: Workload) -> list[MacTerm]:
    """All products with weights that the definition has: all but q k' and p v."""
    return [
        *projection_terms(workload),
        *global_projection_terms(workload),
        *rest_of_layer_terms(workload),
    ]


def tokens(workload: Workload, exponent: int = 1) -> Factor:
    """n, or n^2."""
    return Factor("n", workload.seq_len, exponent)


def queries(workload: Workload) -> Factor:
    """The number of queries: n, or m new tokens in mode `decode`."""
    return Factor("m", workload.new_tokens) if workload.mode == "decode" else tokens(workload)


def num_globals(workload: Workload) -> int:
    """G of the layers that have global tokens with projections of their own; 0 if none has."""
    return max(len(layer.symmetric_globals) for layer in workload.layers)


def layers_with_globals(workload: Workload) -> Factor | int:
    """How many layers have global tokens with projections of their own."""
    return factor_of_layers(
        workload, sum(bool(layer.symmetric_globals) for layer in workload.layers)
    )


def layer_groups(workload: Workload) -> list[tuple[AttentionPattern, Factor | int, str]]:
    """Each distinct layer, how many layers are like it, and `, w 512` where layers differ.

    Layers of equal windows that differ in their dilations are told apart by their numbers.
    """
    groups = Counter(workload.layers)
    windows = Counter(layer.window for layer in groups)
    return [
        (
            layer,
            factor_of_layers(workload, count),
            _suffix(workload, layer, windows) if len(groups) > 1 else "",
        )
        for layer, count in groups.items()
    ]


def _suffix(workload: Workload, layer: AttentionPattern, windows: Counter[int | None]) -> str:
    if windows[layer.window] == 1:
        return f", w {layer.window:,}" if layer.window else ", dense"
    numbers = [index + 1 for index, other in enumerate(workload.layers) if other == layer]
    first, last = numbers[0], numbers[-1]
    if last - first + 1 > len(numbers):
        return f", layers {', '.join(map(str, numbers))}"
    return f", layers {first} to {last}" if last > first else f", layer {first}"


def attention_macs(workload: Workload, layer: AttentionPattern) -> int:
    """Forward MACs of one layer's attention, b (d + e) per attended pair; 2 b n^2 D if dense."""
    features = workload.head_dim + workload.value_dim
    return workload.batch_size * features * layer.pairs(workload.seq_len, workload.queries)


def useful_terms(workload: Workload) -> list[MacTerm]:
    """What the pattern needs in all layers: products with weights, b (d + e) per attended pair."""
    pairs = Factor("pairs", workload.pairs)
    scores, context = (Factor("d", workload.head_dim), pairs), (value_factor(workload), pairs)
    return [
        *weight_terms(workload),
        term(workload, "scores", "scores", scores, layers=1),
        term(workload, "context", "context", context, layers=1),
    ]


def value_factor(workload: Workload) -> Factor:
    """e, the width of a head of values; d where it is the same."""
    symbol = "d" if workload.value_dim == workload.head_dim else "e"
    return Factor(symbol, workload.value_dim)


def useful_macs(workload: Workload) -> int:
    """MACs that the pattern needs in all layers."""
    return total_macs(useful_terms(workload))


def parameters(workload: Workload, sets: int, *, has_bias: bool = True) -> int:
    """Parameters of all layers.

    Args:
        workload: its scope and layers.
        sets: sets of a query, a key and a value projection in all attentions together.
        has_bias: whether these projections have biases.
    """
    widths = workload.query_width + workload.key_width + workload.value_width
    attentions = sets * (workload.hidden_size + has_bias) * widths
    return attentions + len(workload.layers) * rest_of_layer_parameters(workload)


def rest_of_layer_parameters(workload: Workload) -> int:
    """Parameters of one whole layer outside its attention; 0 with scope `attention`.

    9 D^2 + 10 D where the attention is as wide as the layer: the output projection and the
    feed-forward with their biases, and two layer norms.
    """
    if workload.scope == "attention":
        return 0
    hidden, intermediate = workload.hidden_size, workload.intermediate_size
    output = hidden * (workload.output_width + 1)
    feed_forward = intermediate * (hidden + 1) + hidden * (intermediate + 1)
    layer_norms = 2 * 2 * hidden
    return output + feed_forward + layer_norms
