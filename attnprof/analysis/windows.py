"""What the masks of a model let through against what it multiplies: the table of `windows`."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from attnprof.analysis.uncounted import uncounted_records
from attnprof.core.workload import Case

Mask = Literal["window", "causal", "full", "other", "unknown"]
"""What a layer's mask lets through: the pairs of a declared window, all pairs of causal attention,
all pairs, another number of pairs; or it depends on data."""

CONFIGURED, FLEX = "as configured", "flex_attention"
"""The runs of a model: with its own attention implementation, and with FlexAttention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerAttention:
    """The attention that one module computes in one call.

    Attributes:
        layer: the path of the module; empty for the module that is called.
        implementation: how it is computed: `scaled_dot_product_attention`, `flex_attention` or
            `eager`.
        declared: the name of the window in the config or the module; empty where there is none.
        declared_size: its value.
        reach: tokens of the longest sequence of which the declared window hides no pair.
        mask: what the mask lets through.
        is_dense: whether all pairs of a sequence, or all causal ones, are multiplied.
        attended_pairs: pairs that the mask lets through, over all sequences and heads; None if it
            depends on data.
        executed_pairs: pairs whose scores are multiplied.
        useful_macs: MACs of scores and context of the attended pairs.
        executed_macs: MACs of scores and context.
        detail: why `attended_pairs` is not known.
    """

    layer: str
    implementation: str
    declared: str = ""
    declared_size: int | None = None
    reach: int | None = None
    mask: Mask
    is_dense: bool
    attended_pairs: int | None
    executed_pairs: int
    useful_macs: int | None
    executed_macs: int
    detail: str = ""

    @property
    def ratio(self) -> float | None:
        """Executed MACs in units of the useful ones; None where these are not known, or 0."""
        return self.executed_macs / self.useful_macs if self.useful_macs else None

    def hides_in(self, seq_len: int) -> bool:
        """Whether the layer declares a window that is shorter than a sequence."""
        return self.reach is not None and seq_len > self.reach


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWindows:
    """The attention of one model at one length.

    Attributes:
        case: what was run.
        layers: as the model is configured, in the order in which they run.
        with_flex: the same layers with FlexAttention; empty where that was not run.
        why_no_flex: why FlexAttention was not run; empty where it was, or where it is configured.
        unrecognised: attention that could not be followed, in words.
        total_macs: MACs of the whole call as it is configured; None if an operator has no formula.
    """

    case: Case
    layers: tuple[LayerAttention, ...]
    with_flex: tuple[LayerAttention, ...] = ()
    why_no_flex: str = ""
    unrecognised: tuple[str, ...] = ()
    total_macs: int | None = None

    @property
    def seq_len(self) -> int:
        """Tokens."""
        return self.case.workload.seq_len

    def flex_of(self, layers: Iterable[LayerAttention]) -> list[LayerAttention]:
        """The same layers with FlexAttention; empty if one of them has no such run."""
        by_path = {layer.layer: layer for layer in self.with_flex}
        paths = [layer.layer for layer in layers]
        return [by_path[path] for path in paths] if all(path in by_path for path in paths) else []


@dataclass(slots=True)
class WindowsTable:
    """The attention of every case, and the cases that could not be run, with the reason."""

    models: list[ModelWindows]
    failures: list[tuple[Case, str]]

    def to_csv(self) -> str:
        """One row for each layer of each run; a cell is empty where there is no value."""
        import pandas as pd

        text = io.StringIO()
        frame = pd.DataFrame(_records(self.models), columns=_COLUMNS, dtype=object)
        frame.to_csv(text, index=False, lineterminator="\n")
        return text.getvalue()

    def to_json(self) -> str:
        """The layers of each run, what was not followed, and the failures."""
        document = {
            "layers": _records(self.models),
            "models": [
                {
                    "kernel": model.case.kernel,
                    "seq_len": model.seq_len,
                    "total_macs": model.total_macs,
                    "why_no_flex_attention": model.why_no_flex,
                    "unrecognised": list(model.unrecognised),
                }
                for model in self.models
            ],
            "failures": uncounted_records(self.failures),
        }
        return json.dumps(document, indent=2) + "\n"


_OF_CASE = ("kernel", "seq_len", "batch_size", "dtype", "device", "mode", "run")
_COLUMNS = (
    *_OF_CASE,
    *(name for name in LayerAttention.__dataclass_fields__ if name not in ("detail", "reach")),
    *("ratio", "detail"),
)


def _records(models: Iterable[ModelWindows]) -> list[dict[str, Any]]:
    """The values of each layer by column."""
    return [
        {name: record[name] for name in _COLUMNS}
        for model in models
        for run, layers in ((CONFIGURED, model.layers), (FLEX, model.with_flex))
        for layer in layers
        for record in [_of_case(model.case, run) | asdict(layer) | {"ratio": layer.ratio}]
    ]


def _of_case(case: Case, run: str) -> dict[str, Any]:
    workload = case.workload
    named = {name: getattr(workload, name) for name in _OF_CASE[1:-1]}
    return {"kernel": case.kernel, **named, "run": run}


@dataclass(frozen=True, slots=True)
class Sum:
    """Several layers together; attended pairs and useful MACs are None where one is not known."""

    layers: tuple[LayerAttention, ...]

    @property
    def attended_pairs(self) -> int | None:
        """Pairs that masks let through."""
        return _total(layer.attended_pairs for layer in self.layers)

    @property
    def executed_pairs(self) -> int:
        """Pairs whose scores are multiplied."""
        return sum(layer.executed_pairs for layer in self.layers)

    @property
    def useful_macs(self) -> int | None:
        """MACs of scores and context of the attended pairs."""
        return _total(layer.useful_macs for layer in self.layers)

    @property
    def executed_macs(self) -> int:
        """MACs of scores and context."""
        return sum(layer.executed_macs for layer in self.layers)

    @property
    def ratio(self) -> float | None:
        """Executed MACs in units of the useful ones; None where these are not known, or 0."""
        return self.executed_macs / self.useful_macs if self.useful_macs else None


def _total(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(value or 0 for value in known)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is said about the layers of a model, each layer in one place.

    Attributes:
        masked: layers with a window that multiply all pairs and mask the others.
        skipping: layers with a window that multiply fewer.
        causal: layers whose masks let all causal pairs through, and that declare no shorter window.
        full: layers whose masks let all pairs through, and that declare no shorter window.
        too_long: layers among these whose declared window is longer than the sequence.
        not_applied: layers that declare a window, and whose masks let all pairs through.
        other: layers with another mask.
        unknown: layers whose mask depends on data.
    """

    masked: Sum
    skipping: Sum
    causal: Sum
    full: Sum
    too_long: Sum
    not_applied: Sum
    other: Sum
    unknown: Sum


def find(model: ModelWindows) -> Finding:
    """Sort the layers of a model by what can be said about them."""
    n = model.seq_len

    def those(layers: Iterable[LayerAttention]) -> Sum:
        return Sum(tuple(layers))

    by_mask: dict[Mask, list[LayerAttention]] = {}
    for layer in model.layers:
        by_mask.setdefault(layer.mask, []).append(layer)
    windowed = by_mask.get("window", [])
    causal, full = by_mask.get("causal", []), by_mask.get("full", [])
    return Finding(
        masked=those(layer for layer in windowed if layer.is_dense),
        skipping=those(layer for layer in windowed if not layer.is_dense),
        causal=those(layer for layer in causal if not layer.hides_in(n)),
        full=those(layer for layer in full if not layer.hides_in(n)),
        too_long=those(
            layer for layer in (*causal, *full) if layer.declared and not layer.hides_in(n)
        ),
        not_applied=those(layer for layer in (*causal, *full) if layer.hides_in(n)),
        other=those(by_mask.get("other", [])),
        unknown=those(by_mask.get("unknown", [])),
    )


def same_in_flex(model: ModelWindows, layers: Sum) -> Sum | None:
    """The same layers in the run with FlexAttention; None where there is none."""
    found = model.flex_of(layers.layers)
    return Sum(tuple(found)) if found else None


def grouped(layers: Sequence[LayerAttention], key: Any) -> list[tuple[LayerAttention, ...]]:
    """Layers with equal keys together, in the order in which the first of each runs."""
    groups: dict[Any, list[LayerAttention]] = {}
    for layer in layers:
        groups.setdefault(key(layer), []).append(layer)
    return [tuple(group) for group in groups.values()]
