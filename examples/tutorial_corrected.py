"""A well-known tutorial's experiment, run again and corrected.

The tutorial hands BERT's self-attention to ptflops at 512 and at 1,024 tokens, sees the count
double, and concludes that attention is linear in length. This script makes the same calls, then
asks what was multiplied.

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
from attnprof.core.formulas import projection_macs
from attnprof.core.units import format_count

LENGTHS = (512, 1024)


def tutorial_macs(seq_len: int, implementation: str) -> int:
    """What ptflops says of BERT's self-attention, called as the tutorial calls it."""
    config = BertConfig()
    config._attn_implementation = implementation
    module = BertSelfAttention(config)

    def inputs(shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
        return {"hidden_states": torch.randn(1, *shape)}

    # ptflops announces its assumptions on stdout.
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
    """One count at both lengths, and its growth."""
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
    projections = [projection_macs(row.workload, row.workload.layers[0]) for row in rows]
    multiplied = [int(row.values["executed_macs"]) for row in rows]
    line("the three projections alone", projections)
    line("multiplied, by formula", multiplied)
    line("multiplied, counted by operator", [int(row.values["operator_macs"]) for row in rows])

    attention = multiplied[-1] - projections[-1]
    ratio = tutorial_macs(1024, "eager") / tutorial_macs(1024, "sdpa")
    print(
        "\nUnder 'sdpa' ptflops sees the projections, which are linear in length, and their bias"
        "\nadds. Of the attention, which is quadratic, it sees nothing: "
        f"{format_count(attention)} MACs\nat 1,024 tokens. Under 'eager' the same layer, "
        f"multiplying the same, counts {ratio:.2f}x as much."
    )


if __name__ == "__main__":
    main()
