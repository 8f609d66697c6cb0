"""A well-known tutorial's experiment, run again and corrected.

The tutorial passes BERT's self-attention to ptflops at 512 and at 1,024 tokens. The count doubles,
so the tutorial concludes that attention is linear in length. This script makes the same calls and
compares them with the operators that ran.

    python examples/tutorial_corrected.py
"""

from __future__ import annotations

import contextlib
import io

import torch
from ptflops import get_model_complexity_info
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertSelfAttention

import attnprof
from attnprof.core.units import format_count

LENGTHS = (512, 1024)


def tutorial_macs(seq_len: int, implementation: str) -> int:
    """What ptflops reports for BERT's self-attention, called as the tutorial calls it."""
    config = BertConfig()
    config._attn_implementation = implementation
    module = BertSelfAttention(config)

    def inputs(shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
        return {"hidden_states": torch.randn(1, *shape)}

    # ptflops prints warnings to stdout.
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        macs, _ = get_model_complexity_info(
            module,
            (seq_len, config.hidden_size),
            input_constructor=inputs,
            as_strings=False,
            print_per_layer_stat=False,
        )
    return macs


def line(label: str, counts: list[int]) -> None:
    """Print a count at both lengths, and its growth."""
    first, second = counts
    print(
        f"{label:44} {format_count(first):>14} {format_count(second):>14}   x{second / first:.2f}"
    )


def main() -> None:
    print(f"{'MACs of BERT base self-attention at':44} {512:>14} {'1,024':>14}   growth")
    line("ptflops, attention 'sdpa'", [tutorial_macs(n, "sdpa") for n in LENGTHS])
    line("ptflops, attention 'eager'", [tutorial_macs(n, "eager") for n in LENGTHS])

    table = attnprof.compare(
        len=LENGTHS, kernel="bert-sdpa", device="cpu", no_time=True, no_memory=True
    )
    rows = table.rows
    projections = [3 * n * BertConfig().hidden_size ** 2 for n in LENGTHS]
    executed = [int(row.values["executed_macs"]) for row in rows]
    line("the three projections alone", projections)
    line("executed, by formula", executed)
    line("executed, counted by operator", [int(row.values["operator_macs"]) for row in rows])

    attention = executed[-1] - projections[-1]
    ratio = tutorial_macs(1024, "eager") / tutorial_macs(1024, "sdpa")
    print(
        "\nWith 'sdpa' ptflops counts the projections, which are linear in length, and their bias."
        f"\nIt misses the attention itself, which is quadratic: {format_count(attention)} MACs at "
        f"1,024\ntokens. With 'eager' the same layer does the same products, and the count is "
        f"{ratio:.2f}x as large."
    )


if __name__ == "__main__":
    main()
