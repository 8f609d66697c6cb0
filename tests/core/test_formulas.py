"""Closed forms against sums over the enumerated mask."""

from __future__ import annotations

from itertools import pairwise

import pytest

from attnprof import AttentionPattern, AttentionStack, Workload
from attnprof.core.errors import UsageError
from attnprof.core.formulas import useful_macs
from attnprof.core.presets import MODELS, find_model


def enumerated_macs(workload: Workload) -> int:
    """Projections of rows, and a score and a context for each pair of the enumerated mask."""
    n, width = workload.seq_len, workload.hidden_size
    query = workload.num_heads * workload.head_dim
    keys = workload.kv_heads * (workload.head_dim + workload.value_dim)
    output = workload.num_heads * workload.value_dim
    macs = 0
    for layer in workload.layers:
        macs += n * width * (query + keys)
        if layer.global_positions and not layer.causal:
            macs += width * (len(layer.global_positions) * query + n * keys)
        if workload.scope == "layer":
            sides = [output, width, 4 * width, width]  # output projection, up, and down again
            macs += n * sum(a * b for a, b in pairwise(sides))
        pairs = int(layer.mask(n).sum())
        macs += pairs * (workload.head_dim + workload.value_dim)
    return macs * workload.batch_size


def test_useful_macs_equal_the_enumerated_sum(workload: Workload) -> None:
    passes = 3 if workload.mode == "training" else 1
    assert useful_macs(workload) == passes * enumerated_macs(workload)


def test_useful_macs_of_bert_base_at_1024_tokens() -> None:
    workload = Workload(AttentionPattern.dense(), 1024)
    assert useful_macs(workload) == 1_811_939_328 + 1_610_612_736


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ({"seq_len": 0}, "seq_len"),
        ({"batch_size": 0}, "batch_size"),
        ({"hidden_size": -1}, "hidden_size"),
        ({"hidden_size": 770}, "num_heads"),
        ({"dtype": "float33"}, "dtype"),
        ({"device": "gpu"}, "device"),
        ({"mode": "train"}, "mode"),
        ({"scope": "stack"}, "scope"),
        ({"pattern": AttentionPattern.sliding(4, 1, (99,))}, "global_positions"),
    ],
)
def test_illegal_workloads_name_their_argument(arguments: dict[str, object], argument: str) -> None:
    legal: dict[str, object] = {"pattern": AttentionPattern.dense(), "seq_len": 64}
    with pytest.raises(UsageError) as raised:
        Workload(**{**legal, **arguments})  # type: ignore[arg-type]
    assert raised.value.argument == argument


def test_densified_keeps_the_number_of_layers_and_the_scope() -> None:
    layer = AttentionPattern.sliding(4, num_heads=2)
    single, stack = Workload(layer, 8, 4), Workload(AttentionStack(layers=(layer,) * 3), 8, 4)
    assert [pattern.is_dense for pattern in single.densified().layers] == [True]
    assert [pattern.is_dense for pattern in stack.densified().layers] == [True] * 3
    assert Workload(layer, 8, 4, scope="layer").densified().scope == "layer"


def test_every_model_is_found_by_name_and_its_heads_divide_its_width() -> None:
    for model in MODELS:
        assert find_model(model.name) is model
        assert model.hidden_size % model.num_heads == 0
    with pytest.raises(UsageError, match="did you mean bert-base"):
        find_model("bert-bse")
