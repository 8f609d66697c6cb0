"""Custom kernels: user code by reference, or a model by its Hugging Face config.

`pkg.mod:Net` is a module, a module class, or a function that makes one; `checkpoint/config.json`
and `checkpoint` are a transformers model with random weights, and
`checkpoint::encoder.layer.0.attention` is a part of it; `mistral-7b` is a published config. Any of
them may be followed by a description of its inputs,
`(hidden_states=batch,len,hidden;ids=batch,len:int64<30522)`. Custom kernels can be counted and
timed as the built-in ones are.
"""

from __future__ import annotations

from attnprof.kernels.custom.lookup import (
    CustomKernel,
    check_files,
    custom_kernels_in,
    find,
    is_python,
    is_target,
    reply_deadline,
)
from attnprof.kernels.custom.objects import is_given, name_of, registered_object
from attnprof.kernels.custom.proxy import TargetProxies, TargetProxy
from attnprof.kernels.custom.published import PUBLISHED
from attnprof.kernels.custom.reference import is_reference, with_inputs

__all__ = [
    "PUBLISHED",
    "CustomKernel",
    "TargetProxies",
    "TargetProxy",
    "check_files",
    "custom_kernels_in",
    "find",
    "is_given",
    "is_python",
    "is_reference",
    "is_target",
    "name_of",
    "registered_object",
    "reply_deadline",
    "with_inputs",
]
