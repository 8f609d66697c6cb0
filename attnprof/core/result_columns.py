"""The columns of CSV and pandas, in order. Those after `speedup` were added later, at the end."""

from __future__ import annotations

from attnprof.core.records import COLUMN_UNITS, MACHINE

LEADING_COLUMNS = (
    "kernel",
    "seq_len",
    "padded_seq_len",
    "window",
    "dilation",
    "global_tokens",
    "hidden_size",
    "num_heads",
    "batch_size",
    "dtype",
    "device",
    "mode",
    "status",
    "detail",
)

_QUANTITIES = tuple(quantity for quantity in COLUMN_UNITS if quantity != "padded_seq_len")
_ADDED = _QUANTITIES.index("speedup") + 1

FIRST_QUANTITIES = _QUANTITIES[:_ADDED]
"""Up to `speedup`, the last column of the first version."""

WORKLOAD_COLUMNS = ("causal", "kv_heads", "head_dim", "value_dim", "new_tokens", "pattern")

BOUND = "bound"
"""`compute` or `memory`, which follows from `intensity` and the machine's rates."""

_BEFORE_BOUND = _QUANTITIES.index("intensity") + 1

LATER_COLUMNS = (*_QUANTITIES[_ADDED:_BEFORE_BOUND], BOUND, *_QUANTITIES[_BEFORE_BOUND:])

COLUMNS = (*LEADING_COLUMNS, *FIRST_QUANTITIES, *WORKLOAD_COLUMNS, *LATER_COLUMNS, MACHINE)

ESTIMATED = frozenset(
    {
        *("padded_seq_len", "params", "useful_macs", "executed_macs", "predicted_peak_bytes"),
        *("cache_bytes", "min_bytes", "intensity"),
    }
)
"""The quantities that need no measurement."""
