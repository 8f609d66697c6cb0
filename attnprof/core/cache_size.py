"""The cache of keys and values that decoding needs, in closed form.

n tokens are keys, the last m of them are new. A layer with a window keeps the keys that a later
query can attend to, as a rolling buffer does (Mistral 7B, arXiv 2310.06825, section 2), and its
attention sinks (StreamingLLM, arXiv 2309.17453, section 3.2); a dense layer keeps all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from attnprof.core.pattern import AttentionPattern
from attnprof.core.workload import Workload


def cache_bytes(workload: Workload) -> int:
    """Bytes of keys and values that the cache of all layers holds once the call has ended.

    b (d + e) bytes of the dtype for each token and head of keys: n tokens if the layer is dense,
    else at most the window and the attention sinks before it.
    """
    return _bytes_per_token(workload) * sum(
        layers * heads * _kept_tokens(workload.seq_len, strides, layer)
        for layer, layers in Counter(workload.layers).items()
        for strides, heads in _strides_of_groups(workload, layer).items()
    )


def read_cache_bytes(workload: Workload) -> int:
    """Bytes of keys and values of earlier tokens to which a new one attends, each read once."""
    first = workload.seq_len - workload.queries
    return _bytes_per_token(workload) * sum(
        layers * heads * _read_tokens(first, workload.queries, strides, layer)
        for layer, layers in Counter(workload.layers).items()
        for strides, heads in _strides_of_groups(workload, layer).items()
    )


def _bytes_per_token(workload: Workload) -> int:
    """Bytes of the key and the value of one token in one head, in all sequences."""
    features = workload.head_dim + workload.value_dim
    return workload.batch_size * features * workload.dtype_bytes


def _strides_of_groups(workload: Workload, layer: AttentionPattern) -> Counter[tuple[int, ...]]:
    """The strides of the query heads that share a head of keys, and how many such heads there are.

    Equal strides of one group are one.
    """
    shared = workload.num_heads // workload.kv_heads
    groups = (layer.dilation[at : at + shared] for at in range(0, workload.num_heads, shared))
    return Counter(tuple(sorted(set(group))) for group in groups)


def _kept_tokens(seq_len: int, strides: tuple[int, ...], layer: AttentionPattern) -> int:
    """Tokens in one head of the cache, the newest among them."""
    if layer.left is None:
        return seq_len
    kept = min(seq_len, layer.left * max(strides) + 1)
    return kept + sum(position < seq_len - kept for position in layer.global_positions)


def _read_tokens(
    first: int, queries: int, strides: tuple[int, ...], layer: AttentionPattern
) -> int:
    """Tokens before the first new one to which a new one attends in one head of the cache."""
    is_new_one_global = bool(layer.symmetric_globals) and layer.last_position >= first
    if layer.left is None or is_new_one_global:
        return first
    in_windows = [
        keys for stride in strides for keys in _earlier_keys(first, queries, stride, layer.left)
    ]
    sinks = sum(
        position < first and not any(position in keys for keys in in_windows)
        for position in layer.global_positions
    )
    if len(strides) == 1:  # ranges of different residues
        return sum(map(len, in_windows)) + sinks
    return len(set[int]().union(*in_windows)) + sinks


def _earlier_keys(first: int, queries: int, stride: int, left: int) -> Iterator[range]:
    """Keys before the first query in the windows of all queries, one range for each residue.

    Of the queries of equal residue, the earliest attends to all that the others attend to.
    """
    for query in range(first, first + min(queries, stride)):
        steps = min(left, query // stride)
        yield range(query - steps * stride, query, stride)
