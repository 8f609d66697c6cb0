"""Which pairs the masks of a model let through, and which are multiplied, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from attnprof import kernels
from attnprof.analysis.windows import FLEX, LayerAttention, Mask, ModelWindows, WindowsTable
from attnprof.core.errors import MeasurementError, UncountedError, describe_error
from attnprof.core.units import format_count
from attnprof.core.workload import Case
from attnprof.kernels.custom.masked_pairs import forward_of
from attnprof.measure import Observer
from attnprof.measure.request import run_in_kernel_process

if TYPE_CHECKING:
    from attnprof.counting.attention.calls import AttentionCall, AttentionCalls
    from attnprof.counting.call import Call
    from attnprof.counting.declared_windows import DeclaredWindow

_UNKNOWN = "which pairs its masks let through"


def compare_windows(
    cases: Sequence[Case], observe: Observer = lambda activity, done: None
) -> WindowsTable:
    """Follow the attention of every case on fake tensors, as configured and with FlexAttention.

    Args:
        cases: what to run.
        observe: called with the current activity and the fraction of all work done.
    """
    result = WindowsTable([], [])
    for index, case in enumerate(cases):
        observe(
            f"{case.kernel} at {format_count(case.workload.seq_len)}: following its masks",
            index / len(cases),
        )
        try:
            result.models.append(run_in_kernel_process(model_windows, case))
        except Exception as error:
            result.failures.append((case, describe_error(error)))
    return result


def model_windows(case: Case) -> ModelWindows:
    """The attention of a case, in the process that can build it.

    Raises:
        MeasurementError: when the kernel does not support the case, or does not run on fake
            tensors.
    """
    from attnprof.counting.fake_tensors import on_fake_tensors_alone

    kernel, workload = kernels.find(case.kernel), forward_of(case.workload)
    reason = kernel.unsupported_reason(case.workload)
    if reason:
        raise MeasurementError(reason)

    def followed(take: Any) -> _Followed:
        return on_fake_tensors_alone(lambda: kernel.build(workload), take, _UNKNOWN)

    as_configured = followed(partial(_follow, seq_len=workload.seq_len))
    with_flex, why_no_flex = _Followed(), ""
    has_others = any(layer.implementation != FLEX for layer in as_configured.layers)
    if as_configured.is_transformers and has_others:
        try:
            with_flex = followed(partial(_follow_with_flex, seq_len=workload.seq_len))
        except Exception as error:
            cause = error.__cause__
            why_no_flex = describe_error(cause if isinstance(cause, Exception) else error)
    return ModelWindows(
        case=case,
        layers=as_configured.layers,
        with_flex=with_flex.layers,
        why_no_flex=why_no_flex,
        unrecognised=as_configured.unrecognised,
        total_macs=_total_macs(case),
    )


def _total_macs(case: Case) -> int | None:
    """MACs of a forward pass, attention and all else; None if an operator has no formula."""
    try:
        return kernels.find(case.kernel).executed_macs(forward_of(case.workload))
    except UncountedError:
        return None


@dataclass(frozen=True, slots=True)
class _Followed:
    """The layers of one run, what could not be followed, and whether transformers' models ran."""

    layers: tuple[LayerAttention, ...] = ()
    unrecognised: tuple[str, ...] = ()
    is_transformers: bool = False


def _follow(call: Call, seq_len: int) -> _Followed:
    from attnprof.counting.attention.tracing import attention_calls
    from attnprof.counting.declared_windows import declared_windows

    found = attention_calls(call.run)
    declared = declared_windows(call.module, {one.module_path for one in found.calls})
    layers = tuple(layers_of(found, declared, seq_len))
    return _Followed(layers, found.unrecognised, bool(_models_in(call.module)))


def _follow_with_flex(call: Call, seq_len: int) -> _Followed:
    _use_flex(call.module)
    return _follow(call, seq_len)


def _models_in(module: Any) -> list[Any]:
    """The transformers models in a module, whose attention can be replaced."""
    return [part for part in module.modules() if hasattr(part, "set_attn_implementation")]


def _use_flex(module: Any) -> None:
    """Switch every transformers model in a module to FlexAttention.

    Raises:
        MeasurementError: when one of them does not support it.
    """
    models = _models_in(module)
    for model in models:
        if not getattr(model, "_supports_flex_attn", False):
            raise MeasurementError(f"{type(model).__name__} does not support it")
    for model in models:
        model.set_attn_implementation(FLEX)


def layers_of(
    found: AttentionCalls, declared: dict[str, DeclaredWindow], seq_len: int
) -> Iterable[LayerAttention]:
    """The attention of each module, in the order in which they run.

    Args:
        found: the attention of one call.
        declared: the windows of modules, by path.
        seq_len: tokens of a sequence.
    """
    by_module: dict[str, list[AttentionCall]] = {}
    for call in found.calls:
        by_module.setdefault(call.module_path, []).append(call)
    for path, calls in by_module.items():
        window = declared.get(path)
        attended = _total(call.attended_pairs for call in calls)
        is_dense = all(_is_dense(call, seq_len) for call in calls)
        yield LayerAttention(
            layer=path,
            implementation=", ".join(dict.fromkeys(call.implementation for call in calls)),
            declared=window.name if window else "",
            declared_size=window.size if window else None,
            reach=window.reach if window else None,
            mask=_mask(calls, attended, window, is_dense=is_dense),
            is_dense=is_dense,
            attended_pairs=attended,
            executed_pairs=sum(call.executed_pairs for call in calls),
            useful_macs=_total(call.useful_macs for call in calls),
            executed_macs=sum(call.executed_macs for call in calls),
            detail="; ".join(dict.fromkeys(call.unknown for call in calls if call.unknown)),
        )


def _total(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else sum(value or 0 for value in known)


def _mask(
    calls: Sequence[AttentionCall],
    attended: int | None,
    window: DeclaredWindow | None,
    *,
    is_dense: bool,
) -> Mask:
    if attended is None:
        return "unknown"
    if window and not is_dense:
        return "window"
    if attended == sum(c.batch * c.heads * c.queries * _keys(c) for c in calls):
        return "full"
    if attended == sum(c.batch * c.heads * _causal_pairs(c.queries, _keys(c)) for c in calls):
        return "causal"
    return "window" if window else "other"


def _is_dense(call: AttentionCall, seq_len: int) -> bool:
    """Whether all pairs of a sequence are multiplied, or at least all causal ones."""
    of_heads = call.batch * call.heads * _causal_pairs(call.queries, _keys(call))
    return call.keys >= seq_len and call.executed_pairs >= of_heads


def _keys(call: AttentionCall) -> int:
    """Keys of a head, without the sinks that gpt-oss appends to the scores."""
    rows = call.batch * call.heads * call.queries
    return call.executed_pairs // rows if call.implementation == "eager" else call.keys


def _causal_pairs(queries: int, keys: int) -> int:
    """Pairs of one head without those of a later key; queries are the last of the keys."""
    first = max(0, keys - queries)
    seen = min(queries, keys)
    return seen * first + seen * (seen + 1) // 2
