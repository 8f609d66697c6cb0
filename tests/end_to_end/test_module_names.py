"""Modules that are named in strings exist: a worker that cannot import one reports no error."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import attnprof
from attnprof import kernels
from attnprof.counting import counters, third_party
from attnprof.guard.measurement import modules as guard_modules
from attnprof.isolation.server_process import SERVE
from attnprof.measure import worker_tasks

PACKAGE = Path(attnprof.__file__).parent
DOTTED = re.compile(r"attnprof(\.[A-Za-z_]\w*)+")


def modules_in_strings() -> list[str]:
    """Dotted names in strings of the package, docstrings included."""
    names: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                names |= {match[0] for match in DOTTED.finditer(node.value)}
    return sorted(name for name in names if not name.startswith(("attnprof.toml", "attnprof.lock")))


@pytest.mark.parametrize("name", modules_in_strings())
def test_a_dotted_name_in_a_string_exists(name: str) -> None:
    if name in ("attnprof.replaced", "attnprof.guard.NAME", "attnprof.COMMAND"):
        return  # an error handler of codecs; tables of the configuration
    parts, found = name.split("."), None
    for length in range(1, len(parts) + 1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            rest = parts[length - 1 :]
            break
    else:
        rest = []
    for part in rest:
        found = getattr(found, part)


def test_modules_that_workers_preload_can_be_imported() -> None:
    custom_names = ["mixers:Dense", "bert/config.json"]
    for name in worker_tasks.modules([*kernels.names(), *custom_names]):
        importlib.import_module(name)
    assert "attnprof.kernels.builtin.longformer_hf" in worker_tasks.modules(kernels.names())
    assert "attnprof.kernels.custom.python_object" in worker_tasks.modules(custom_names)
    for name in guard_modules([]):
        importlib.import_module(name)
    assert "from attnprof.isolation.server_process import serve" in SERVE


def test_every_kernel_and_counter_of_its_folder_is_listed() -> None:
    assert set(counters.names()) == {"operator", "ptflops_aten", "ptflops_pytorch", "torch"}
    assert set(third_party.names()) == {"calflops", "fvcore", "thop", "torchinfo"}
    files = {m.name for m in pkgutil.iter_modules([str(PACKAGE / "kernels" / "builtin")])}
    listed = {name.replace("-", "_") for name in kernels.names()}
    assert listed == {name for name in files if not name.startswith("_")}
