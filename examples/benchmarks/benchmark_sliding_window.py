"""How fast `attnprof.sliding_window_attention` is, and how much memory it takes, as ratios.

    python examples/benchmarks/benchmark_sliding_window.py

Each line compares calls that alternate in random order in the same rounds; a ratio is the median
over the rounds, with its 99 % interval. Float32, batch 1, 12 heads of 64 and a window of 512
unless a line says otherwise; on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention
from transformers import LongformerConfig
from transformers.models.longformer import modeling_longformer

from attnprof import AttentionPattern, LongformerSelfAttention, sliding_window_attention
from attnprof.core.intervals import median_interval, paired_ratio
from attnprof.core.units import format_bytes, format_duration
from attnprof.measure import environment
from attnprof.measure.peak_memory import measure_peak_bytes
from attnprof.measure.rounds import Budget, cpu_timer, measure_rounds
from attnprof.nn.flex import block_mask
from attnprof.report.run_facts import describe_machine

HEADS, HEAD_DIM, WINDOW = 12, 64, 512
SECONDS = 12.0
"""For the rounds of one comparison."""

Calls = dict[str, Callable[[], object]]


def inputs(
    seq_len: int, batch: int = 1, dtype: torch.dtype = torch.float32, kv_heads: int = HEADS
) -> list[Tensor]:
    """Query, key and value as projections make them: `(batch, heads, seq_len, head_dim)` views."""
    return [
        torch.randn(batch, seq_len, heads, HEAD_DIM).to(dtype).transpose(1, 2)
        for heads in (HEADS, kv_heads, kv_heads)
    ]


def attention(
    seq_len: int, batch: int = 1, kv_heads: int = HEADS, **options: Any
) -> Callable[[], Tensor]:
    tensors = inputs(seq_len, batch, options.pop("dtype", torch.float32), kv_heads)
    arguments = {"window": WINDOW, "enable_gqa": kv_heads < HEADS} | options
    return lambda: sliding_window_attention(*tensors, **arguments)


def dense(seq_len: int) -> Callable[[], Tensor]:
    tensors = inputs(seq_len)
    return lambda: scaled_dot_product_attention(*tensors)


def flex(seq_len: int, dilation: int = 1) -> Callable[[], Tensor]:
    tensors = inputs(seq_len)
    pattern = AttentionPattern.sliding(WINDOW, dilation, num_heads=HEADS)
    mask = block_mask(pattern, seq_len, torch.device("cpu"))
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda: compiled(*tensors, block_mask=mask)


def layers(seq_len: int, training: bool = False) -> Calls:
    """The layers of transformers and attnprof, with the same weights and one global token."""
    config = LongformerConfig(attention_window=[WINDOW], attention_probs_dropout_prob=0.0)
    theirs = modeling_longformer.LongformerSelfAttention(config, 0).train(training)
    ours = LongformerSelfAttention(config, 0).train(training)
    ours.load_state_dict(theirs.state_dict())
    hidden_states = torch.randn(1, seq_len, config.hidden_size, requires_grad=training)
    mask = torch.zeros(1, seq_len)
    mask[:, 0] = torch.finfo(mask.dtype).max
    masks = {
        "attention_mask": mask,
        "is_index_masked": mask < 0,
        "is_index_global_attn": mask > 0,
        "is_global_attn": True,
    }

    def call(layer: torch.nn.Module) -> Callable[[], object]:
        def run() -> Tensor:
            with torch.set_grad_enabled(training):
                layer.zero_grad(set_to_none=True)
                hidden_states.grad = None
                output: Tensor = layer(hidden_states, **masks)[0]
                if training:
                    output.backward(torch.ones_like(output))
                return output.detach()

        return run

    return {"transformers": call(theirs), "attnprof": call(ours)}


def time_calls(calls: Calls) -> dict[str, list[int]]:
    measured = measure_rounds(calls, cpu_timer, Budget(SECONDS))
    for name, error in measured.failures.items():
        print(f"  {name} failed: {error}")
    return measured.times


def line(what: str, ratio: Sequence[int], to: Sequence[int], unit: str, scale: float = 1) -> None:
    """Print how many times as long as `to` the samples of `ratio` took, divided by `scale`."""
    interval = paired_ratio(ratio, to)
    low, high = interval.low / scale, interval.high / scale
    print(f"  {what:<62}{interval.median / scale:6.2f}{unit} ({low:.2f} to {high:.2f})")


def rate_line(
    what: str, macs: int, times: Sequence[int], product: Sequence[int], product_macs: int
) -> None:
    """Print a rate in MACs per second as a share of that of a large product."""
    ratio = paired_ratio(product, times)
    shares = [100 * macs / product_macs * r for r in (ratio.median, ratio.low, ratio.high)]
    of_product = f"{what} / those of a large float32 product"
    print(f"  {of_product:<62}{shares[0]:5.0f} % ({shares[1]:.0f} to {shares[2]:.0f})")


def compare_attention() -> None:
    n = 8192
    side = 2048
    matrix = torch.randn(side, side)
    times = time_calls(
        {
            "product": lambda: matrix @ matrix,
            "ours": attention(n),
            "dense": dense(n),
            "flex": flex(n),
            "dilation 8": attention(n, dilation=8),
            "flex, dilation 8": flex(n, 8),
            "1 global": attention(n, global_positions=(0,)),
            "64 globals": attention(n, global_positions=range(64)),
            "batch 4": attention(n, batch=4),
            "bfloat16": attention(n, dtype=torch.bfloat16),
        }
    )
    ours = times["ours"]
    useful_macs = 2 * HEAD_DIM * AttentionPattern.sliding(WINDOW, num_heads=HEADS).pairs(n)
    rate = side**3 / median_interval(times["product"]).median
    print(f"attention to a window, {n:,} tokens: {format_duration(round(median(ours)))}")
    print(f"  large float32 products here: {rate:.0f} GMac/s")
    product = times["product"], side**3
    rate_line("useful MACs a second", useful_macs, ours, *product)
    rate_line("those of dense attention", 2 * HEADS * HEAD_DIM * n**2, times["dense"], *product)
    line("faster than fused dense attention", times["dense"], ours, "x")
    line("faster than compiled FlexAttention", times["flex"], ours, "x")
    eight = times["dilation 8"]
    line("the same with dilation 8", times["flex, dilation 8"], eight, "x")
    line("time with dilation 8 on all heads / without", eight, ours, "x")
    line("time with 1 global token / without", times["1 global"], ours, "x")
    line("time with 64 global tokens / without", times["64 globals"], ours, "x")
    line("time per sequence in a batch of 4 / alone", times["batch 4"], ours, "x", 4)
    line("faster in bfloat16", ours, times["bfloat16"], "x")


def compare_causal() -> None:
    """A causal window has the keys on one side of a symmetric one: half of them, and its own."""
    causal = {"window": WINDOW // 2 + 1, "causal": True}
    for n in (4096, 8192):
        times = time_calls(
            {
                "symmetric": attention(n),
                "causal": attention(n, **causal),
                "4 sinks": attention(n, global_positions=range(4), **causal),
                "4 heads of keys": attention(n, kv_heads=4, **causal),
            }
        )
        ours = times["causal"]
        print(
            f"causal, {WINDOW // 2 + 1} keys, {n:,} tokens: {format_duration(round(median(ours)))}"
        )
        line(
            "time / half of that with both sides (limit 1.15x)", ours, times["symmetric"], "x", 0.5
        )
        line("time with 4 attention sinks / without", times["4 sinks"], ours, "x")
        line("time with 4 heads of keys / with 12", times["4 heads of keys"], ours, "x")


def compare_lengths() -> None:
    short, long = 8192, 65536
    times = time_calls({"short": attention(short), "long": attention(long)})
    print(f"{long:,} tokens: {format_duration(round(median(times['long'])))}")
    line(f"time per token / that at {short:,}", times["long"], times["short"], "x", long / short)
    tensors = inputs(long)
    held = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    peak = measure_peak_bytes(lambda: sliding_window_attention(*tensors, window=WINDOW), "cpu")
    print(f"  {'query, key and value, and all that the call allocates':<62}", end="")
    print(f"{format_bytes(held)} + {format_bytes(peak)}")
    n = 512
    times = time_calls({"ours": attention(n), "dense": dense(n)})
    print(f"{n} tokens, as many as the window: {format_duration(round(median(times['ours'])))}")
    line("time / that of fused dense attention", times["ours"], times["dense"], "x")


def compare_layers() -> None:
    for seq_len, training in ((4096, False), (8192, False), (4096, True)):
        calls = layers(seq_len, training)
        times = time_calls(calls)
        peaks = {name: measure_peak_bytes(call, "cpu") for name, call in calls.items()}
        what = "forward and backward" if training else "forward"
        print(f"LongformerSelfAttention, one global token, {seq_len:,} tokens, {what}")
        line("faster than transformers' class", times["transformers"], times["attnprof"], "x")
        print(
            f"  {'of its peak memory':<62}  1/{peaks['transformers'] / peaks['attnprof']:.1f} "
            f"({format_bytes(peaks['attnprof'])} of {format_bytes(peaks['transformers'])})"
        )


def median(samples: Sequence[int]) -> float:
    return median_interval(samples).median


def main() -> None:
    torch.manual_seed(0)
    print(describe_machine(environment.capture().as_dict(), is_on_gpu=False))
    with torch.no_grad():
        compare_attention()
        compare_causal()
        compare_lengths()
    compare_layers()


if __name__ == "__main__":
    main()
