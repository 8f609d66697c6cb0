"""attnprof: what attention costs, and how the cost grows with length.

Public names are imported when they are first used, so `import attnprof` does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnprof.api.compare import compare
    from attnprof.api.estimate import estimate
    from attnprof.api.result_table import ResultTable
    from attnprof.core.pattern import AttentionPattern
    from attnprof.core.pattern_stack import AttentionStack
    from attnprof.core.workload import Workload
    from attnprof.counting.mac_formulas import register_mac_formula
    from attnprof.guard.assertions import assert_growth
    from attnprof.nn.checking.check import check_attention
    from attnprof.nn.longformer import LongformerSelfAttention
    from attnprof.nn.sliding_window import sliding_window_attention

    __version__: str

__all__ = [
    "AttentionPattern",
    "AttentionStack",
    "LongformerSelfAttention",
    "ResultTable",
    "Workload",
    "assert_growth",
    "check_attention",
    "compare",
    "estimate",
    "register_mac_formula",
    "sliding_window_attention",
]

_HOMES = {
    "AttentionPattern": "attnprof.core.pattern",
    "AttentionStack": "attnprof.core.pattern_stack",
    "LongformerSelfAttention": "attnprof.nn.longformer",
    "ResultTable": "attnprof.api.result_table",
    "Workload": "attnprof.core.workload",
    "assert_growth": "attnprof.guard.assertions",
    "check_attention": "attnprof.nn.checking.check",
    "compare": "attnprof.api.compare",
    "estimate": "attnprof.api.estimate",
    "register_mac_formula": "attnprof.counting.mac_formulas",
    "sliding_window_attention": "attnprof.nn.sliding_window",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
