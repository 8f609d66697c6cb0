"""Compile the Triton kernels for a GPU that is not there, and print what they would use of it.

Triton compiles to machine code without a device. The figures are those of its assembler, ptxas:
registers of a thread, of 255 at most; spilled bytes, which do not fit into these; and bytes of
shared memory, of which a program has 163 KiB on an A100 and 227 KiB on an H100.

    .venv/bin/python examples/benchmarks/compile_triton.py --capability 90 --dtype bfloat16
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from attnprof.nn.banded import triton_attention
from attnprof.nn.banded.band import Band

BATCH, HEADS, SEQ_LEN = 2, 4, 4096


@dataclass(frozen=True, slots=True)
class Usage:
    """What one kernel uses of a GPU."""

    kernel: str
    warps: int
    shared_bytes: int
    registers: int
    spilled_bytes: int
    tensor_cores: str

    def __str__(self) -> str:
        return (
            f"  {self.kernel:<24} {self.warps:>5} {self.shared_bytes:>9,} {self.registers:>9} "
            f"{self.spilled_bytes:>7} {self.tensor_cores:>12}"
        )


class AbsentGpu:
    """Stands in for Triton's driver of a GPU: it has a target to compile for."""

    def __init__(self, capability: int) -> None:
        self._target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        """What is compiled for."""
        return self._target

    def get_current_device(self) -> int:
        """Its number."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """The stream that nothing runs in."""
        return 0


def compile_instead_of_run(capability: int) -> list[tuple[str, Any]]:
    """Let launches compile their kernel only; the list gets each, with its function's name."""
    compiled: list[tuple[str, Any]] = []
    run: Any = triton.JITFunction.run

    def compile_only(function: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
        kernel = run(function, *args, grid=grid, warmup=True, **options)
        compiled.append((function.fn.__name__, kernel))

    driver.set_active(AbsentGpu(capability))
    triton.JITFunction.run = compile_only
    return compiled


def usage_of(name: str, kernel: Any) -> Usage:
    """The figures that Triton's own assembler prints for a kernel."""
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    ptx = kernel.asm["ptx"]
    architecture = re.search(r"^\.target (\w+)", ptx, re.MULTILINE)
    assert architecture is not None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        # the newest one: an older assembler does not read the PTX of this Triton
        assembler = sorted(tools.glob("ptxas*"))[-1]
        command = [str(assembler), "-v", f"--gpu-name={architecture[1]}", str(source), "-o"]
        done = subprocess.run(
            [*command, str(Path(folder) / "kernel.o")], capture_output=True, text=True, check=True
        )
    registers = re.search(r"Used (\d+) registers", done.stderr)
    spilled = re.search(r"(\d+) bytes spill stores", done.stderr)
    assert registers is not None
    assert spilled is not None
    products = next((one for one in ("wgmma", "mma.sync") if one in ptx), "none")
    return Usage(
        name,
        kernel.metadata.num_warps,
        kernel.metadata.shared,
        int(registers[1]),
        int(spilled[1]),
        products,
    )


def attend(dtype: torch.dtype, head_dim: int, dilation: int, num_globals: int) -> None:
    """Forward and backward of tensors without data, with a padding mask."""

    def tensor() -> torch.Tensor:
        rows = torch.empty(BATCH, SEQ_LEN, HEADS, head_dim, dtype=dtype, device="meta")
        return rows.transpose(1, 2)

    band = Band(
        sides=(256, 256),
        dilation=(dilation,) * HEADS,
        causal=False,
        global_positions=(tuple(range(num_globals)),) * BATCH,
    )
    inputs = (tensor(), tensor(), tensor())
    padded = torch.empty(BATCH, SEQ_LEN, dtype=torch.bool, device="meta")
    scale = head_dim**-0.5
    output, sums = triton_attention.forward(*inputs, None, padded, band, scale)
    triton_attention.backward(output, *inputs, padded, band, scale, 0.0, output, sums)


def main() -> None:
    """Print a table for each width and dilation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capability", type=int, default=90, help="80 is A100, 90 is H100")
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument("--head-dim", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--dilation", type=int, nargs="+", default=[1, 8])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    compiled = compile_instead_of_run(options.capability)
    dtype = getattr(torch, options.dtype)
    for head_dim in options.head_dim:
        for dilation in options.dilation:
            print(f"{options.dtype}, heads of {head_dim}, dilation {dilation}, 64 global tokens:")
            print("  kernel                   warps    shared registers spilled tensor cores")
            compiled.clear()
            attend(dtype, head_dim, dilation, num_globals=64)
            for name, kernel in compiled:
                print(usage_of(name.removesuffix("_kernel"), kernel), flush=True)


if __name__ == "__main__":
    main()
