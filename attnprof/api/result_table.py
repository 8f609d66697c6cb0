"""`ResultTable` as `estimate` and `compare` return it: it prints, draws and saves itself."""

from __future__ import annotations

from attnprof.core import result_table
from attnprof.analysis.recorded_costs import recorded_costs


class ResultTable(result_table.ResultTable):
    pass
