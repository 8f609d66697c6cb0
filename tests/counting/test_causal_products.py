"""Which pairs torch's causal fused attention really multiplies on CPU, seen from NaN.

A masked weight is 0. If the kernel multiplies it with a value that is NaN, the output is NaN; if it
skips the pair, it is not. The same holds for gradients.
"""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention

from attnprof.core.causal_blocks import fused_causal_pairs
from attnprof.counting.counters.torch import _rule as torch_rule
from attnprof.counting.reconciliation import reconcile

WIDTH = 4


def multiplied(queries: int, keys: int, key: int) -> torch.Tensor:
    """Which queries multiply their weight of a key with its value, `(queries,)`."""
    value = torch.ones(1, 1, keys, WIDTH)
    value[:, :, key] = torch.nan
    query, others = torch.zeros(1, 1, queries, WIDTH), torch.zeros(1, 1, keys, WIDTH)
    output = scaled_dot_product_attention(query, others, value, is_causal=True)
    return output.isnan().any(-1)[0, 0]


@pytest.mark.parametrize(("queries", "keys"), [(700, 700), (1300, 1300), (300, 1100), (1100, 600)])
def test_the_kernel_multiplies_as_many_pairs_as_are_counted(queries: int, keys: int) -> None:
    pairs = 0
    for begin in range(0, keys, 512):
        stop = min(begin + 512, keys)
        # The first and the last key of a block, and one inside.
        of_keys = [multiplied(queries, keys, key) for key in (begin, (begin + stop) // 2, stop - 1)]
        assert all(torch.equal(of_keys[0], other) for other in of_keys)
        pairs += int(of_keys[0].sum()) * (stop - begin)
    assert pairs == fused_causal_pairs(queries, keys, "cpu")


@pytest.mark.parametrize("tokens", [700, 1300])
def test_its_backward_pass_multiplies_the_same_pairs(tokens: int) -> None:
    """A NaN in the gradient of a query's output reaches the values whose weights it multiplies."""
    pairs, rows = 0, 64 if tokens < 768 else 256
    for first in range(0, tokens, rows):
        last = min(first + rows, tokens)
        value = torch.ones(1, 1, tokens, WIDTH, requires_grad=True)
        others = torch.zeros(1, 1, tokens, WIDTH)
        output = scaled_dot_product_attention(others, others, value, is_causal=True)
        gradient = torch.zeros_like(output)
        gradient[:, :, first] = torch.nan
        output.backward(gradient)
        assert value.grad is not None
        pairs += int(value.grad.isnan().any(-1).sum()) * (last - first)
    assert pairs == fused_causal_pairs(tokens, tokens, "cpu")


def test_the_difference_of_a_counter_that_counts_causal_attention_in_full_has_a_name() -> None:
    """torch's counter has a formula for the GPUs' operators, in which `is_causal` is no factor."""
    with FakeTensorMode():
        query = torch.empty(1, 2, 64, 16, device="cuda", dtype=torch.float16)

        def run() -> None:
            torch.ops.aten._scaled_dot_product_flash_attention(query, query, query, 0.0, True)

        found = reconcile(run, torch_rule)
    in_full = 2 * 2 * 64 * 64 * 16
    assert found.counted_macs == in_full
    of_triangle = 2 * 2 * 16 * fused_causal_pairs(64, 64, "cuda")
    assert found.true_macs == of_triangle
    assert found.differences == {"causal attention counted in full": in_full - of_triangle}
