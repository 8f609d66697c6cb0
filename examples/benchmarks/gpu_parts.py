"""The parts of `gpu.py` that measure, each in a process of its own; results are lines of JSON.

python examples/benchmarks/gpu_parts.py window --len 4096 --until 1790000000 [--cpu-check]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

HEAD_DIM = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is measured, and on which device.

    Attributes:
        device: `cuda` or `cpu`.
        dtype: of the tensors.
        heads: of `sliding_window_attention`.
        window: keys on both sides of a query.
        lengths: of `sliding_window_attention`.
        compared: lengths of `attnprof compare`.
        kernels: of `attnprof compare`.
        dilations: of all heads.
        globals: numbers of global tokens.
        seconds: for the rounds of one comparison.
        tests: the tests, as pytest is told.
    """

    device: str = "cuda"
    dtype: str = "bfloat16"
    heads: int = 12
    window: int = 512
    lengths: tuple[int, ...] = (4096, 16384, 65536)
    compared: tuple[int, ...] = (4096, 16384)
    kernels: tuple[str, ...] = (
        *("bert-eager", "bert-sdpa", "longformer-hf"),
        *("longformer-masked", "longformer-banded", "longformer-flex"),
    )
    dilations: tuple[int, ...] = (1, 8)
    globals: tuple[int, ...] = (0, 1, 64)
    seconds: float = 1.5
    tests: tuple[str, ...] = ("tests",)


ON_GPU = Sizes()
ON_CPU = Sizes(
    device="cpu",
    dtype="float32",
    heads=1,  # Triton's interpreter is slow
    window=16,
    lengths=(48,),
    compared=(64,),
    kernels=("bert-sdpa", "longformer-banded"),
    dilations=(2,),
    globals=(0, 1),
    seconds=0.02,
    tests=("tests/measure/test_rate_probes.py", "--collect-only"),
)


def emit(**record: object) -> None:
    """A result: one line of JSON, which the process that started this one prints and keeps."""
    print(json.dumps(record), flush=True)


def run_compare(sizes: Sizes) -> None:
    """`compare` end to end: times against fused dense attention, and peaks."""
    import attnprof

    names = ("kernel", "seq_len", "status", "detail", "time_ns", "speedup")
    names += ("executed_macs", "operator_macs", "predicted_peak_bytes", "peak_bytes")
    for seq_len in sizes.compared:
        table = attnprof.compare(
            kernel=sizes.kernels,
            len=seq_len,
            window=sizes.window,
            device=sizes.device,
            dtype=sizes.dtype,
            max_seconds=4 * sizes.seconds,
        )
        for row in table.rows:
            cells = row.cells()
            emit(part="compare", **{name: cells[name] for name in names})


def run_window(sizes: Sizes, until: float, seq_len: int, without: Sequence[str]) -> None:
    """Forward, and forward with backward, of each dilation and number of global tokens."""
    for num_globals, dilation, has_backward in product(
        sizes.globals, sizes.dilations, (False, True)
    ):
        case: dict[str, Any] = {"part": "window", "seq_len": seq_len, "dilation": dilation}
        case |= {"globals": num_globals, "pass": "both" if has_backward else "forward"}
        if time.time() > until:
            emit(**case, failed={"all": "out of time"})
            continue
        calls = attention_calls(sizes, seq_len, dilation, num_globals, has_backward)
        kept = {name: call for name, call in calls.items() if name not in without}
        emit(**case, **measured(kept, sizes, num_globals))


Call = Callable[[], Any]


def attention_calls(
    sizes: Sizes, seq_len: int, dilation: int, num_globals: int, has_backward: bool
) -> dict[str, Call]:
    """The implementations by name; each returns its output, or the gradients with it."""
    import torch
    from torch.nn.attention.flex_attention import flex_attention
    from torch.nn.functional import scaled_dot_product_attention

    from attnprof import AttentionPattern, sliding_window_attention
    from attnprof.nn.flex import block_mask

    torch.manual_seed(0)
    torch._dynamo.config.cache_size_limit = 64
    device = torch.device(sizes.device)
    query, key, value = (
        torch.randn(
            1, seq_len, sizes.heads, HEAD_DIM, device=device, dtype=getattr(torch, sizes.dtype)
        )
        .transpose(1, 2)
        .requires_grad_(has_backward)
        for _ in range(3)
    )
    positions = tuple(range(num_globals))
    pattern = AttentionPattern.sliding(sizes.window, dilation, positions, num_heads=sizes.heads)
    ours = {"window": sizes.window, "dilation": dilation, "global_positions": positions}
    # Compiled on CPU it takes longer than all the rest of the check.
    flex: Any = torch.compile(flex_attention, dynamic=False) if device.type == "cuda" else None
    mask: Any = None

    def windowed(implementation: str) -> Any:
        chosen: dict[str, Any] = {} if implementation == "tiles" else {"implementation": "triton"}
        return sliding_window_attention(query, key, value, **ours, **chosen)

    def by_flex() -> Any:
        nonlocal mask
        mask = mask or block_mask(pattern, seq_len, device)
        return (flex or flex_attention)(query, key, value, block_mask=mask)

    def with_backward(forward: Call) -> Call:
        def run() -> Any:
            output = forward()
            torch.autograd.grad(output, (query, key, value), torch.ones_like(output))
            return output.detach()

        def run_forward() -> Any:
            with torch.no_grad():
                return forward()

        return run if has_backward else run_forward

    forwards: dict[str, Call] = {
        "tiles": lambda: windowed("tiles"),
        "triton": lambda: windowed("triton"),
        "flex": by_flex,
        "dense": lambda: scaled_dot_product_attention(query, key, value),
    }
    if importlib.util.find_spec("triton") is None:  # which `gpu.py` has said
        del forwards["triton"]
    return {name: with_backward(forward) for name, forward in forwards.items()}


def measured(calls: dict[str, Call], sizes: Sizes, num_globals: int) -> dict[str, Any]:
    """Median times, peaks, differences from the tiles, and why the others failed.

    FlexAttention does not compute the rows of global tokens, which come first.
    """
    import torch

    from attnprof.core.errors import describe_error
    from attnprof.core.intervals import median_interval
    from attnprof.measure.peak_memory import measure_peak_bytes
    from attnprof.measure.rounds import Budget, cpu_timer, cuda_timer, measure_rounds

    failed, peaks, difference = {}, {}, {}
    expected: Any = None
    for name, call in list(calls.items()):
        try:
            output = call()
            if name == "tiles":
                expected = output
            elif name in ("flex", "triton") and expected is not None:
                first = num_globals if name == "flex" else 0
                off = output[:, :, first:].float() - expected[:, :, first:].float()
                difference[name] = float(off.abs().max())
            del output
            peaks[name] = measure_peak_bytes(call, sizes.device)  # type: ignore[arg-type]
        except Exception as error:
            failed[name] = describe_error(error)[:200]
            del calls[name]
            if sizes.device == "cuda":
                torch.cuda.empty_cache()
    del expected
    timer = cuda_timer() if sizes.device == "cuda" else cpu_timer
    rounds = measure_rounds(calls, timer, Budget(sizes.seconds))
    failed |= {name: str(error)[:200] for name, error in rounds.failures.items()}
    times = {name: round(median_interval(t).median) for name, t in rounds.times.items()}
    return {"time_ns": times, "peak_bytes": peaks, "difference": difference, "failed": failed}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", choices=("compare", "window"))
    parser.add_argument("--until", type=float, required=True, help="begins no case after this time")
    parser.add_argument("--len", type=int)
    parser.add_argument("--without", nargs="+", default=(), help="implementations to leave out")
    parser.add_argument("--cpu-check", action="store_true")
    arguments = parser.parse_args()
    sizes = ON_CPU if arguments.cpu_check else ON_GPU
    if sizes.device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported
    if arguments.part == "compare":
        run_compare(sizes)
    else:
        run_window(sizes, arguments.until, arguments.len, arguments.without)
    return 0


if __name__ == "__main__":
    sys.exit(main())
