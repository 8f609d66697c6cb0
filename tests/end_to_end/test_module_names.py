"""Modules that are named in strings exist: a worker that cannot import one says nothing of it."""

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
    """Strings of the package, docstrings among them, that look like a module of it."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {match[0] for match in DOTTED.finditer(node.value)}
    return sorted(name for name in found if not name.startswith(("attnprof.toml", "attnprof.lock")))


@pytest.mark.parametrize("name", modules_in_strings())
def test_a_name_in_a_string_is_a_module_or_in_one(name: str) -> None:
    if name in ("attnprof.replaced", "attnprof.guard.NAME"):
        return  # a codec's error handler; a table of a configuration
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


def test_what_workers_import_can_be_imported() -> None:
    own = ["mixers:Dense", "bert/config.json"]
    for name in worker_tasks.modules([*kernels.names(), *own]):
        importlib.import_module(name)
    assert "attnprof.kernels.builtin.longformer_hf" in worker_tasks.modules(kernels.names())
    assert "attnprof.kernels.custom.python_object" in worker_tasks.modules(own)
    for name in guard_modules([]):
        importlib.import_module(name)
    assert "from attnprof.isolation.server_process import serve" in SERVE


def test_folders_of_kernels_and_counters_are_listed_whole() -> None:
    assert set(counters.names()) == {"operator", "ptflops_aten", "ptflops_pytorch", "torch"}
    assert set(third_party.names()) == {"calflops", "fvcore", "thop", "torchinfo"}
    files = {m.name for m in pkgutil.iter_modules([str(PACKAGE / "kernels" / "builtin")])}
    listed = {name.replace("-", "_") for name in kernels.names()}
    assert listed == {name for name in files if not name.startswith("_")}
