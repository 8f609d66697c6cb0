"""The Triton kernels in Triton's interpreter, against dense attention under the enumerated mask.

A script, since Triton has to be imported with TRITON_INTERPRET=1. It prints a line of JSON for each
case: `[case, largest error of the output, of each gradient, ...]`, or `[case, what is expected,
what was found]`.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from inspect import ismodule
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import torch
from sliding_window_cases import Case, error, gradients
from torch import Tensor

from attnprof import AttentionPattern, Workload, kernels
from attnprof.core.workload import Case as KernelCase
from attnprof.core.workload import Mode
from attnprof.counting.counters import operator
from attnprof.measure import worker_tasks
from attnprof.measure.peak_memory import measure_peak_bytes
from attnprof.nn.banded import triton_attention
from attnprof.nn.banded.triton_costs import TritonShape
from attnprof.nn.banded.triton_sizes import TritonTile, TritonTiles, triton_tiles

SMALL = (
    TritonTiles(
        forward=TritonTile(32, 16, 4, 1),
        of_queries=TritonTile(16, 32, 4, 1),
        of_keys=TritonTile(16, 16, 4, 1),
    ),
    TritonTiles(
        forward=TritonTile(16, 16, 4, 1),
        of_queries=TritonTile(32, 16, 4, 1),
        of_keys=TritonTile(32, 16, 4, 1),
    ),
)
"""Tiles of few tokens, so that short sequences have many."""

RANDOM_CASES = 12


def patch_once() -> None:
    """Let Triton's interpreter patch its language once, not for each call of each function."""
    from triton.runtime import interpreter

    patch, patched = interpreter._patch_lang, set[frozenset[str]]()

    class Kept:
        def restore(self) -> None:
            """Keep the patches: nothing is compiled in this process."""

    def patch_first(function: Any) -> Kept:
        names = {module.__name__ for module in function.__globals__.values() if ismodule(module)}
        languages = frozenset(name for name in names if name.startswith("triton.language"))
        if languages not in patched:
            patched.add(languages)
            patch(function)
        return Kept()

    interpreter._patch_lang = patch_first


class Products:
    """Multiplies in Triton's interpreter, and counts MACs; of bfloat16 it multiplies the numbers.

    Triton 3.9 multiplies their bits.
    """

    def __init__(self) -> None:
        from triton.runtime.interpreter import InterpreterBuilder

        self.macs = 0
        self._create_dot: Any = InterpreterBuilder.create_dot
        InterpreterBuilder.create_dot = lambda *args: self._create(*args)

    def _create(self, builder: Any, left: Any, right: Any, *args: Any) -> Any:
        self.macs += left.data.size * right.data.shape[1]
        left, right = self._as_numbers(left), self._as_numbers(right)
        return self._create_dot(builder, left, right, *args)

    @staticmethod
    def _as_numbers(handle: Any) -> Any:
        from triton.language import bfloat16, float32
        from triton.runtime.interpreter import TensorHandle

        if handle.dtype.scalar != bfloat16:
            return handle
        bits = handle.data.astype("uint32") << 16
        return TensorHandle(bits.view("float32"), float32)


def random_case(seed: int) -> Case:
    """A case of few tokens; each feature is in some of them."""
    rng = random.Random(seed)
    batch, heads = rng.randint(1, 2), rng.choice((1, 2, 2, 4))
    seq_len = rng.randint(1, 24) if seed % 8 == 7 else rng.randint(33, 75)
    causal = seed % 3 == 2
    numbers = rng.choice(((0, 0), (1, 1), (3, 0), (20, 2)))
    positions = tuple(
        tuple(sorted(rng.sample(range(seq_len), min(number, seq_len))))
        for number in numbers[:batch]
    )
    padded = None
    if seed % 4 == 1:
        kept = torch.tensor([rng.randint(0, seq_len) for _ in range(batch)]).unsqueeze(1)
        padded = torch.arange(seq_len) >= kept
        padded[:, rng.randrange(seq_len)] ^= True
    window: Any = (rng.randint(0, 40), 0 if causal else rng.randint(0, 40))
    dilation = tuple(rng.choice((1, 1, 2, 3, 8)) for _ in range(heads))
    return Case(
        shape=(batch, heads, seq_len, rng.choice((16, 24, 32))),
        window=rng.choice((window, 2 * rng.randint(1, 20))),
        causal=causal,
        kv_heads=rng.choice([0, *(d for d in range(1, heads + 1) if heads % d == 0)]),
        value_dim=rng.choice((0, 0, 8, 40)),
        dilation=rng.choice((dilation, (1,) * heads)),
        positions=positions,
        padded=padded,
        own_projections=rng.random() < 0.5,
        projected_layout=rng.random() < 0.5,
        scale=rng.choice((None, 0.5)),
    )


def errors(case: Case, dtype: torch.dtype) -> list[float]:
    """Largest errors of the output and of each gradient, in parts of the largest true number."""
    tensors = case.tensors(dtype)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    output, expected = case.attend(tensors, implementation="triton"), case.expected(exact)
    pairs = [(output, expected)]
    for tensor, ours, theirs in zip(
        exact, gradients(output, tensors), gradients(expected, exact), strict=True
    ):
        zero = torch.zeros_like(tensor)
        pairs.append((zero if ours is None else ours, zero if theirs is None else theirs))
    return [_relative(ours, theirs) for ours, theirs in pairs]


def _relative(ours: Tensor, theirs: Tensor) -> float:
    largest = float(theirs.detach().abs().max()) if theirs.numel() else 0.0
    return error(ours, theirs) / max(1.0, largest)


def random_cases() -> Iterator[tuple[str, list[float]]]:
    """Random patterns and shapes in float32, with small tiles."""
    for seed in range(RANDOM_CASES):
        triton_attention.triton_tiles = lambda *_, tiles=SMALL[seed % 2]: tiles
        case = random_case(seed)
        yield f"seed {seed}: {replace(case, padded=None)}", errors(case, torch.float32)


def half_cases() -> Iterator[tuple[str, list[float]]]:
    """The tiles of the half precisions as they are, one program with whole blocks of keys each."""
    triton_attention.triton_tiles = triton_tiles
    for dtype, width, causal in (
        (torch.bfloat16, 64, False),
        (torch.float16, 24, True),
    ):
        case = Case((1, 1, 130, width), 128, (1,), ((7,),), None, False, True, causal=causal)
        yield f"{dtype}: {case}", errors(case, dtype)


def compiled_cases() -> Iterator[tuple[str, list[float]]]:
    """Inside `torch.compile`, without graph breaks."""
    triton_attention.triton_tiles = triton_tiles
    case = Case((1, 2, 40, 16), 12, (1, 3), ((0, 9),), None, False, True)
    tensors = case.tensors(torch.float32)
    attend = torch.compile(
        lambda *t: case.attend(t, implementation="triton"), backend="aot_eager", fullgraph=True
    )
    output, expected = attend(*tensors), case.attend(tensors)
    pairs = zip(gradients(output, tensors), gradients(expected, tensors), strict=True)
    found = [error(ours, theirs) for ours, theirs in pairs if ours is not None]
    yield "torch.compile", [error(output, expected), *found]


def executed_macs(products: Products) -> Iterator[tuple[str, list[float]]]:
    """MACs of the kernels by their closed form, and those of all products of a run.

    Widths are powers of two: columns of padding do not count.
    """
    for seq_len, dilation, causal, positions, kv_heads in (
        (150, (1, 7), True, (0, 3), 1),
        (90, (40, 2), False, tuple(range(20)), 2),
    ):
        case = Case(
            *((1, 2, seq_len, 32), (40, 0 if causal else 25), dilation, (positions,), None, False),
            projected_layout=True,
            causal=causal,
            kv_heads=kv_heads,
            value_dim=16,
        )
        triton_attention.triton_tiles = triton_tiles
        tensors = case.tensors(torch.float32)
        products.macs = 0
        gradients(case.attend(tensors, implementation="triton"), tensors)
        shape = TritonShape(
            batch=1,
            seq_len=seq_len,
            kv_heads=kv_heads,
            head_dim=32,
            value_dim=16,
            dtype_bytes=4,
            sides=(39, 0) if causal else (40, 25),
            dilation=dilation,
            num_globals=len(positions),
        )
        yield str(case), [shape.forward_macs + shape.backward_macs, products.macs]


def collect_after_each_kernel() -> None:
    """Free what the interpreter leaves in cycles, as measured peaks would include it."""
    from triton.runtime.interpreter import GridExecutor

    run: Any = GridExecutor.__call__
    gc.freeze()  # what is there is not garbage, and need not be looked at each time

    def collected(executor: Any, *args: Any, **kwargs: Any) -> None:
        run(executor, *args, **kwargs)
        executor.__dict__.clear()
        gc.collect()

    GridExecutor.__call__ = collected


def kernel_calls() -> Iterator[tuple[str, list[float]]]:
    """Operator-level MACs and measured peaks of `longformer-triton` beside its closed forms.

    Raises:
        AssertionError: if the output or a gradient is wrong.
    """
    collect_after_each_kernel()
    kernel = kernels.find_built_in("longformer-triton")
    triton_attention.triton_tiles = triton_tiles
    pattern = AttentionPattern.sliding(16, (1, 2), (3, 9), num_heads=2)
    modes: tuple[Mode, ...] = ("inference", "training")
    for mode in modes:
        workload = Workload(pattern, 40, 32, mode=mode)
        wrong = worker_tasks.check_output(KernelCase(kernel.name, workload))
        assert wrong == "", wrong
        counted = operator.count(partial(kernel.build, workload))
        yield f"MACs of {workload}", [kernel.executed_macs(workload), counted]
        measured = measure_peak_bytes(kernel.build(workload).run, "cpu")
        yield f"peak of {workload}", [kernel.peak_bytes(workload), measured]
    gc.unfreeze()


if __name__ == "__main__":
    patch_once()
    products = Products()
    parts = {
        "random": random_cases(),
        "half": half_cases(),
        "compiled": compiled_cases(),
        "macs": executed_macs(products),
        "kernel": kernel_calls(),
    }
    for part in sys.argv[1:]:
        for name, found in parts[part]:
            print(json.dumps([name, *found]), flush=True)
