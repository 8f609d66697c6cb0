"""What a user names instead of a kernel: an object in a Python module, or a Hugging Face config.

`pkg.mod:Net` is a module, a class of modules, or a function that makes one;
`checkpoint/config.json` and `checkpoint` are a model of transformers with random weights, and
`checkpoint::encoder.layer.0.attention` is a part of it. Behind any of them,
`(hidden_states=batch,len,hidden;ids=batch,len:int64<30522)` says what its inputs are. What is
named so can be counted and timed as the built-in kernels are.
"""

from __future__ import annotations

import os
from functools import cache

from attnprof.targets.reference import is_reference, parse_reference, with_inputs
from attnprof.targets.target import Target

__all__ = ["Target", "find", "is_reference", "with_inputs"]


def find(name: str) -> Target:
    """What a reference names, ready to build; torch is loaded for it.

    Raises:
        UsageError: when there is no such thing, or it cannot be used.
    """
    return _find(name, os.getcwd())  # noqa: PTH109 # references are relative to it


@cache
def _find(name: str, folder: str) -> Target:
    reference = parse_reference(name)
    if reference.kind == "config":
        from attnprof.targets.hf_config import ConfigTarget

        return ConfigTarget(reference)
    from attnprof.targets.python_object import PythonTarget

    return PythonTarget(reference)
