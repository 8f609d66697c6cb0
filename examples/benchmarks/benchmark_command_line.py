"""How long the command line takes, as ratios of runs that alternate in one session.

    python examples/benchmarks/benchmark_command_line.py

Compares `attnprof --help` and `attnprof estimate` with the `--help` of a minimal Typer app, and
`attnprof compare --no-time --no-memory` with a plain script that imports the same modules and makes
the same ptflops calls; then times a grid of 10,000 estimates and the default comparison.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ATTNPROF = str(Path(sys.executable).parent / "attnprof")

MINIMAL_APP = """
import typer
app = typer.Typer()

@app.command()
def one(size: int = 1):
    "A command."

@app.command()
def two(size: int = 1):
    "Another."

app()
"""

PLAIN_SCRIPT = """
import contextlib, io, torch
from ptflops import get_model_complexity_info
from transformers import BertConfig, LongformerConfig
from transformers.models.bert.modeling_bert import BertSelfAttention
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

def bert(implementation, n):
    config = BertConfig()
    config._attn_implementation = implementation
    return BertSelfAttention(config), {"hidden_states": torch.randn(1, n, 768)}

def longformer(n):
    config = LongformerConfig(attention_window=[512], num_hidden_layers=1)
    mask = torch.zeros(1, n)
    mask[:, 0] = 1
    return LongformerSelfAttention(config, 0), {
        "hidden_states": torch.randn(1, n, 768), "attention_mask": mask,
        "is_index_masked": mask < 0, "is_index_global_attn": mask > 0, "is_global_attn": True,
    }

for n in (512, 1024, 4096):
    for make in (lambda n: bert("eager", n), lambda n: bert("sdpa", n), longformer):
        for backend in ("pytorch", "aten"):
            module, kwargs = make(n)
            with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
                print(get_model_complexity_info(
                    module, (n, 768), input_constructor=lambda _: kwargs, as_strings=False,
                    print_per_layer_stat=False, backend=backend))
"""


def seconds(command: list[str]) -> float:
    """Wall time of a command."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


def alternate(commands: dict[str, list[str]], rounds: int) -> dict[str, float]:
    """Median seconds of each command, each run once a round."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            taken[name].append(seconds(command))
    return {name: statistics.median(times) for name, times in taken.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        minimal, plain = Path(folder) / "minimal.py", Path(folder) / "plain.py"
        minimal.write_text(MINIMAL_APP)
        plain.write_text(PLAIN_SCRIPT)
        lengths = ["--len", "512", "1024", "4096"]
        quick = alternate(
            {
                "minimal": [sys.executable, str(minimal), "--help"],
                "help": [ATTNPROF, "--help"],
                "estimate": [ATTNPROF, "estimate", *lengths],
            },
            rounds=15,
        )
        print(f"a minimal Typer app's --help         {quick['minimal']:6.2f} s")
        for name, limit in (("help", 1.25), ("estimate", 1.7)):
            ratio = quick[name] / quick["minimal"]
            print(f"attnprof {name:27} {quick[name]:6.2f} s   {ratio:.2f}x of it (limit {limit}x)")

        grid = ["--len", "512:51200:+1024", "--window", "64", "128", "192", "256", "320", "384"]
        grid += ["448", "512", "768", "1024", "--dilation", *map(str, range(1, 11))]
        csv = Path(folder) / "grid.csv"
        taken = seconds([ATTNPROF, "estimate", *grid, "--csv", str(csv)])
        rows = len(csv.read_text().splitlines()) - 1
        print(f"estimate of a grid, {rows:,} rows     {taken:6.2f} s   (limit 2 s)")

        same = [*lengths, "--kernel", "bert-eager", "bert-sdpa", "longformer-hf"]
        counting = alternate(
            {
                "plain": [sys.executable, str(plain)],
                "compare": [ATTNPROF, "compare", *same, "--no-time", "--no-memory"],
            },
            rounds=3,
        )
        ratio = counting["compare"] / counting["plain"]
        print(f"a plain script's ptflops calls       {counting['plain']:6.2f} s")
        print(
            f"attnprof compare, counting only      {counting['compare']:6.2f} s   "
            f"{ratio:.2f}x of it (limit 1.3x)"
        )

        taken = seconds([ATTNPROF, "compare", *lengths])
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(f"attnprof compare {' '.join(lengths)}  {taken:6.1f} s   (limit 120 s)")
        print(f"largest resident set of all these    {peak:6.2f} GiB (limit 6 GiB)")


if __name__ == "__main__":
    main()
