"""`ResultTable` as `estimate` and `compare` return it: it prints, draws and saves itself."""

from __future__ import annotations

from attnprof.core import result_table


class ResultTable(result_table.ResultTable):
    pass
