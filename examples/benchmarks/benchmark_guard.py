"""What a check costs, and how often it raises a false alarm.

    python examples/benchmarks/benchmark_guard.py --checks 1000 --races 200

`attnprof guard check` runs on ten contracts: built-in kernels, a custom module and a config of BERT
base's size; imports are included. Then unchanged contracts are checked many times, in processes
with other thread counts, hash seeds and random seeds, every second time while other processes take
all cores. Time contracts are checked under that load only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attnprof.guard import check
from attnprof.guard.config import Configuration, read_configuration
from attnprof.guard.measurement import modules
from attnprof.guard.reports import text
from attnprof.guard.timing import confirmed_time_ratio
from attnprof.isolation.fork_server import ForkServer

ATTNPROF = str(Path(sys.executable).parent / "attnprof")
GUARD_EXAMPLE = Path(__file__).parents[1] / "guard"
BERT_BASE = (
    '{"model_type": "bert", "architectures": ["BertModel"], "max_position_embeddings": 4096}'
)
LINEAR = 'growth.macs = "linear"'
QUADRATIC = 'growth.macs = "quadratic"'
SHORT, LONG = [512, 1024, 2048, 4096], [1024, 2048, 4096, 8192]
CONTRACTS = {
    "bert-eager": ('target = "bert-eager"', SHORT, QUADRATIC),
    "bert-sdpa": ('target = "bert-sdpa"', SHORT, QUADRATIC),
    "bert-training": ('target = "bert-sdpa"\nmode = "training"', SHORT, QUADRATIC),
    "masked": ('target = "longformer-masked"', SHORT, QUADRATIC),
    "banded": ('target = "longformer-banded"', LONG, LINEAR),
    "dilated": ('target = "longformer-banded"\nwindow = 256\ndilation = 2', LONG, LINEAR),
    "bfloat16": ('target = "longformer-banded"\ndtype = "bfloat16"', LONG, LINEAR),
    "hf": ('target = "longformer-hf"', LONG, LINEAR),
    "own": ('target = "own:build"\ninput = "input=batch,len,hidden"', LONG, LINEAR),
    "bert-base": ('hf = "bert-base.json"', SHORT, QUADRATIC),
}
REPEATED = ("bert-sdpa", "bfloat16", "own")
RACE = 'time = { reference = "bert-sdpa", at = 256, max = 1.1 }'


def project(folder: Path) -> Configuration:
    """Write ten contracts, and the lock that they keep."""
    shutil.copy(GUARD_EXAMPLE / "encoder.py", folder / "encoder.py")
    (folder / "own.py").write_text(
        "import os, torch\nfrom encoder import build\n"
        "torch.manual_seed(int(os.environ.get('SEED', '0')))\n"
    )
    (folder / "bert-base.json").write_text(BERT_BASE)
    tables = [
        f"[guard.{name}]\n{target}\nlen = {lengths}\n{law}\n"
        for name, (target, lengths, law) in CONTRACTS.items()
    ]
    (folder / "attnprof.toml").write_text("\n".join(tables))
    subprocess.run([ATTNPROF, "guard", "init"], cwd=folder, check=True, capture_output=True)
    return read_configuration(folder / "attnprof.toml")


def seconds_of(*words: str, cwd: Path) -> float:
    begun = time.perf_counter()
    subprocess.run([ATTNPROF, *words], cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def seconds_of_imports(modules: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)
    return time.perf_counter() - begun


def median(measure: Callable[[], float], times: int = 5) -> float:
    return sorted(measure() for _ in range(times))[times // 2]


def spin() -> None:
    while True:
        sum(range(100_000))


@contextmanager
def load() -> Iterator[None]:
    """Keep every core busy with other processes."""
    busy = [multiprocessing.Process(target=spin, daemon=True) for _ in range(os.cpu_count() or 1)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.join()


def repeat_checks(configuration: Configuration, count: int) -> None:
    """Check unchanged contracts in varied processes: every alarm is a false one."""
    contracts = configuration.chosen(REPEATED)
    statuses: Counter[str] = Counter()
    kinds = 20
    for kind in range(kinds):
        variables = {
            "OMP_NUM_THREADS": str(1 + kind % 5),
            "PYTHONHASHSEED": str(1000 + kind),
            "SEED": str(kind),
        }
        with ForkServer(modules(contracts), variables) as server:
            for index in range(-(-count // kinds)):
                if sum(statuses.values()) >= count:
                    break
                if index % 2:
                    with load():
                        done = check.check(configuration, contracts, server)
                else:
                    done = check.check(configuration, contracts, server)
                if done.exit_code:
                    print(text.render(done))
                statuses["kept" if done.exit_code == 0 else "alarm"] += 1
    print(f"{count:,} checks of {len(contracts)} unchanged contracts: {dict(statuses)}")


def repeat_races(folder: Path, count: int) -> None:
    """Race a kernel against itself, whose ratio is 1.00: every broken contract is a false alarm."""
    (folder / "race.toml").write_text(f'[guard.race]\ntarget = "bert-sdpa"\nlen = 256\n{RACE}\n')
    (contract,) = read_configuration(folder / "race.toml").chosen(())
    assert contract.time is not None
    outcomes: Counter[str] = Counter()
    rounds: list[int] = []
    begun = time.perf_counter()
    with ForkServer(modules([contract])) as server, load():
        for _ in range(count):
            run = confirmed_time_ratio(contract, folder, server, timeout=300)
            outcomes[run.outcome(contract.time.max)] += 1
            rounds.append(run.rounds)
    seconds = (time.perf_counter() - begun) / count
    middle = sorted(rounds)[len(rounds) // 2]
    print(f"{count} races of a kernel against itself under load, max = {contract.time.max}:")
    print(f"    {dict(outcomes)}, {middle} rounds in the median, {seconds:.1f} s each")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checks", type=int, default=40)
    parser.add_argument("--races", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configuration = project(folder)
        ten = median(lambda: seconds_of("guard", "check", cwd=folder))
        alone = median(lambda: seconds_of("guard", "check", "bert-base", cwd=folder))
        torch = median(lambda: seconds_of_imports("torch"))
        models = median(lambda: seconds_of_imports("torch, transformers.models.bert.modeling_bert"))
        print(f"check of {len(CONTRACTS)} contracts, imports included   {ten:.1f} s")
        print(f"check of a BERT-base-sized config alone   {alone:.1f} s")
        print(f"    without the import of torch           {alone - torch:.1f} s")
        print(f"    nor that of transformers' BERT        {alone - models:.1f} s")
        lines = len((folder / "attnprof.lock.json").read_text().splitlines())
        print(f"lock file: {lines} lines")
        if options.checks:
            repeat_checks(configuration, options.checks)
        if options.races:
            repeat_races(folder, options.races)


if __name__ == "__main__":
    main()
