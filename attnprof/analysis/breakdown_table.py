"""MACs by module or operator: the table of `breakdown`."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import Literal

from attnprof.analysis.uncounted import uncounted_records
from attnprof.core.workload import Case

By = Literal["module", "operator"]


@dataclass(frozen=True, slots=True)
class Part:
    """One module with all its submodules, or one operator wherever it runs.

    Attributes:
        kernel: name of the kernel.
        seq_len: tokens.
        by: `module` or `operator`.
        part: the module's path, empty for the root module, or the operator's name.
        calls: operator calls in the part.
        macs: MACs of the part; None where one of its operators has no formula.
        share: `macs` as a part of those of the whole call, 0 to 1; None where these are not known.
        growth: the exponent k of MACs ~ n^k from the length before; None at the first length.
    """

    kernel: str
    seq_len: int
    by: By
    part: str
    calls: int
    macs: int | None
    share: float | None
    growth: float | None = None


@dataclass(slots=True)
class Breakdown:
    """Parts of every case, and the cases that could not be counted, with the reason."""

    parts: list[Part]
    failures: list[tuple[Case, str]]

    def to_csv(self) -> str:
        """One row for each part; a cell is empty where there is no value."""
        import pandas as pd

        text = io.StringIO()
        columns = list(Part.__dataclass_fields__)
        frame = pd.DataFrame([asdict(part) for part in self.parts], columns=columns, dtype=object)
        frame.to_csv(text, index=False, lineterminator="\n")
        return text.getvalue()

    def to_json(self) -> str:
        """The parts and the failures."""
        import json

        document = {
            "parts": [asdict(part) for part in self.parts],
            "failures": uncounted_records(self.failures),
        }
        return json.dumps(document, indent=2) + "\n"
