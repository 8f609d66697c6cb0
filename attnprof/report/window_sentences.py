"""What can be said of a model's windows: what they need, what is executed, what is not known."""

from __future__ import annotations

from collections.abc import Iterator

from attnprof.analysis.windows import (
    FLEX,
    Finding,
    LayerAttention,
    ModelWindows,
    Sum,
    find,
    same_in_flex,
)
from attnprof.core.units import (
    counted,
    format_count,
    format_macs,
    format_ratio,
    format_share,
    format_tokens,
)
from attnprof.report.columns import EMPTY


def sentences(model: ModelWindows) -> list[str]:
    """What can be said of a model: first what its windows save, last what is not known."""
    found = find(model)
    said = [*_on_windows(model, found), *_on_dense_layers(model, found)]
    if not model.layers:
        said.append("It computes no attention that could be followed.")
    if found.unknown.layers:
        said.append(
            f"{_share(model, found.unknown)} {_have(found.unknown)} a mask that is not known: "
            f"{found.unknown.layers[0].detail or 'it depends on data'}."
        )
    said += [f"Not followed: {text}." for text in model.unrecognised]
    if model.total_macs and model.layers:
        executed = Sum(model.layers).executed_macs
        said.append(
            f"All attention together is {format_share(executed, model.total_macs)} of the "
            f"{format_macs(model.total_macs)} of a forward pass."
        )
    if model.why_no_flex:
        said.append(f"Not run with {FLEX}: {model.why_no_flex}.")
    return said


def _on_windows(model: ModelWindows, found: Finding) -> Iterator[str]:
    tokens = format_tokens(model.seq_len)
    if found.not_applied.layers:
        masks = " or ".join(dict.fromkeys(layer.mask for layer in found.not_applied.layers))
        yield (
            f"{_share(model, found.not_applied)} {_declare(found.not_applied)} that is not "
            f"applied: at {tokens} {_masks_let(found.not_applied)} all pairs of {masks} attention "
            f"through."
        )
    if found.masked.layers:
        yield (
            f"{_share(model, found.masked)} {_verb(found.masked, 'mask')} a dense product: at "
            f"{tokens} {format_overhead(found.masked)} the attention that "
            f"{_their(found.masked)}{_under_flex(model, found.masked)}."
        )
    if found.skipping.layers:
        yield (
            f"{_share(model, found.skipping)} {_verb(found.skipping, 'skip')} what is outside: at "
            f"{tokens} {format_overhead(found.skipping)} the attention that "
            f"{_their(found.skipping)}{_under_flex(model, found.skipping)}."
        )
    if found.too_long.layers:
        yield (
            f"{_share(model, found.too_long)} {_declare(found.too_long)} that hides nothing: it is "
            f"not shorter than {tokens}."
        )


def _on_dense_layers(model: ModelWindows, found: Finding) -> Iterator[str]:
    if found.causal.layers:
        yield (
            f"{_share(model, found.causal)} {_verb(found.causal, 'let')} all causal pairs through "
            f"and {_verb(found.causal, 'execute')} {format_overhead(found.causal)} "
            f"those{_under_flex(model, found.causal)}."
        )
    if found.full.layers:
        yield (
            f"{_share(model, found.full)} {_verb(found.full, 'attend')} to all pairs and "
            f"{_verb(found.full, 'execute')} {format_overhead(found.full)} those."
        )
    if found.other.layers:
        yield (
            f"{_share(model, found.other)} {_have(found.other)} a mask of another kind: "
            f"{format_overhead(found.other)} what it lets through{_under_flex(model, found.other)}."
        )


def _share(model: ModelWindows, some: Sum) -> str:
    """`14 of 22 layers`, `All 32 layers`, `The only layer`."""
    count, total = len(some.layers), len(model.layers)
    if count < total:
        return f"{count} of {counted(total, 'layer')}"
    return f"All {counted(total, 'layer')}" if total > 1 else "The only layer"


def _is_one(some: Sum) -> bool:
    return len(some.layers) == 1


def _verb(some: Sum, verb: str) -> str:
    return f"{verb}s" if _is_one(some) else verb


def _have(some: Sum) -> str:
    return "has" if _is_one(some) else "have"


def _masks_let(some: Sum) -> str:
    return "its mask lets" if _is_one(some) else "their masks let"


def _their(some: Sum) -> str:
    return "its window needs" if _is_one(some) else "their windows need"


def _declare(some: Sum) -> str:
    windows = " or ".join(dict.fromkeys(format_declared(layer) for layer in some.layers))
    return f"{_verb(some, 'declare')} a window ({windows})"


def format_overhead(some: Sum) -> str:
    """Executed MACs in units of the useful ones: `2.67x`."""
    return EMPTY if some.ratio is None else format_ratio(some.ratio)


def _under_flex(model: ModelWindows, some: Sum) -> str:
    flex = same_in_flex(model, some)
    if flex is None or flex.ratio is None:
        return ""
    return f"; under `{FLEX}` {format_ratio(flex.ratio)}"


def format_declared(layer: LayerAttention) -> str:
    """The declared window with its size: `sliding_window 4,096`."""
    size = "" if layer.declared_size is None else f" {format_count(layer.declared_size)}"
    return f"{layer.declared}{size}"
