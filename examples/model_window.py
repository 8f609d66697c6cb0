"""What the sliding window of a Hugging Face model saves, by attention implementation.

The config is a small model of Mistral's kind: causal attention, grouped keys and values, and a
window of 1,024 tokens. Its attention layer is built with random weights and counted operator by
operator, and compared with what its pattern needs.

    python examples/model_window.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from transformers import MistralConfig

import attnprof
from attnprof.core.units import format_macs

LENGTHS = (1024, 2048, 4096)
WINDOW = 1024
IMPLEMENTATIONS = ("eager", "sdpa", "flex_attention")


def config(implementation: str, window: int | None) -> MistralConfig:
    """A model of Mistral's kind, with another attention implementation or window."""
    return MistralConfig(
        hidden_size=1024,
        num_attention_heads=16,
        num_key_value_heads=4,
        num_hidden_layers=1,
        vocab_size=1000,
        sliding_window=window,
        attn_implementation=implementation,
    )


def executed_macs(shape: MistralConfig, implementation: str, folder: Path) -> list[int]:
    """MACs that the attention layer executes at each length, its projections included."""
    shape.save_pretrained(folder)
    path = folder / "config.json"
    # transformers does not save the attention implementation
    path.write_text(
        path.read_text().replace("{", f'{{\n  "attn_implementation": "{implementation}",', 1)
    )
    table = attnprof.estimate(len=LENGTHS, kernel=f"{path}::layers.0.self_attn")
    return [int(row.values["executed_macs"]) for row in table.rows]


def needed_macs(shape: MistralConfig, seq_len: int) -> int:
    """MACs that causal attention to a window needs: a query, and the keys before it in reach."""
    window = min(shape.sliding_window or seq_len, seq_len)
    pairs = window * seq_len - window * (window - 1) // 2
    heads, kv_heads = shape.num_attention_heads, shape.num_key_value_heads
    head_dim = shape.hidden_size // heads
    projections = seq_len * shape.hidden_size * head_dim * 2 * (heads + kv_heads)
    return projections + 2 * head_dim * heads * pairs


def line(label: str, macs: list[int]) -> None:
    """Print the counts at all lengths, and the growth over the last doubling."""
    counts = "".join(f"{format_macs(count, unit=''):>12}" for count in macs)
    print(f"{label:40}{counts}{f'x{macs[-1] / macs[-2]:.2f}':>12}")


def main() -> None:
    print(f"{'MACs of an attention layer at':40}{''.join(f'{n:>12,}' for n in LENGTHS)}  2x length")
    for window in (WINDOW, None):
        name = f"window {window:,}" if window else "no window"
        for implementation in IMPLEMENTATIONS:
            shape = config(implementation, window)
            with tempfile.TemporaryDirectory() as folder:
                line(
                    f"{implementation}, {name}", executed_macs(shape, implementation, Path(folder))
                )
        line(f"needed, {name}", [needed_macs(config("sdpa", window), n) for n in LENGTHS])


if __name__ == "__main__":
    main()
