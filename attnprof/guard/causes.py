"""Likely causes of a breach: rules that compare the locked parts with the measured ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from attnprof.core.units import counted, format_tokens
from attnprof.guard.changes import Comparison
from attnprof.guard.parts import (
    Parts,
    banded_modules,
    dtype_of,
    dtype_size,
    exponent_of,
    fold,
    fold_most_first,
    is_fused,
    is_pairwise,
    is_product,
    is_quadratic,
    module_of,
    operator_of,
    origin_of,
)

_MAX_LINEAR = 1.3
"""The exponent up to which a part counts as linear, between the contract's two longest lengths."""

_MIN_GROWING = 0.5
"""The exponent above which a part grows at all."""

_MAX_CAUSES = 4
_MAX_MODULES = 3

_MIN_CHANGE = 0.002
"""Relative changes of a part below this are not reported as a factor."""

_MAX_RATIO_SPREAD = 1.25
"""Ratios at different lengths within this factor count as equal: short sequences cut a band off at
both ends."""


def explain(comparison: Comparison) -> list[str]:
    """Causes as sentences, the likeliest first; none without an entry in the lock."""
    if comparison.entry is None:
        return []
    causes = [sentence for rule in _RULES for sentence in rule(comparison)]
    return list(dict.fromkeys(causes))[:_MAX_CAUSES]


# --- rules ----------------------------------------------------------------------------------------


def _fused_lost(comparison: Comparison) -> Iterator[str]:
    """Fused attention is gone, and matrix products are new in the same module."""
    locked, current = comparison.locked("macs"), comparison.current("macs")
    lost = {
        module_of(part): operator_of(part)
        for part in locked
        if part not in current and is_fused(part)
    }
    products = [part for part in current if part not in locked and is_product(part)]
    modules = [module for module in lost if _any_inside(products, module)]
    if modules:
        operators = ", ".join(sorted({lost[module] for module in modules}))
        yield (
            f"fused attention was replaced by a materialised product: {operators} in "
            f"{_describe(modules)} is now {_operators(products)}, which materialises the n × n "
            f"scores"
        )


def _dense_for_band(comparison: Comparison) -> Iterator[str]:
    """A band is gone or covers all pairs now; no part was quadratic before."""
    locked, current = comparison.locked("macs"), comparison.current("macs")
    if any(map(is_quadratic, locked.values())):
        return
    squares = [p for p, costs in current.items() if is_pairwise(p) and is_quadratic(costs)]
    banded = banded_modules(current)
    replaced = [
        part
        for part, costs in locked.items()
        if _is_growing_product(part, costs)
        and module_of(part) not in banded
        and _is_replaced(part, squares, comparison)
    ]
    if replaced and squares:
        before = "banded attention" if banded_modules(replaced) else "a product linear in length"
        hint = "; masked pairs are still multiplied" if _has_mask(squares, comparison) else ""
        yield (
            f"a dense product over all pairs replaced {before}: {_operators(squares)} in "
            f"{_modules_of(squares)}{hint}"
        )


def _globals_grow(comparison: Comparison) -> Iterator[str]:
    """The band is unchanged, and a product beside it attends to all keys."""
    locked, current = comparison.locked("macs"), comparison.current("macs")
    banded = banded_modules(locked) & banded_modules(current)
    grown = [
        part
        for part, costs in current.items()
        if module_of(part) in banded
        and exponent_of(costs) > _MAX_LINEAR
        and exponent_of(locked.get(part, {})) < _MAX_LINEAR
    ]
    if grown:
        yield (
            f"the number of global tokens grows with n: {_operators(grown)} in "
            f"{_modules_of(grown)} attends to all keys from more positions at longer lengths, "
            f"beside an unchanged band"
        )


def _more_calls(comparison: Comparison) -> Iterator[str]:
    """The operator that runs most often in addition, where it runs at least twice as often."""
    locked, current = comparison.locked("calls"), comparison.current("calls")
    longest = comparison.lengths[-1]
    more: dict[str, tuple[int, int]] = {}
    for part, costs in locked.items():
        before, after = costs.get(longest, 0), current.get(part, {}).get(longest, 0)
        if before and after >= 2 * before:
            more[part] = (before, after)
    most = fold_most_first(more, lambda row: row[1] - row[0])
    for part, (before, after) in list(most.items())[:1]:
        yield (
            f"{part} runs {counted(after, 'time')} (was {before:,}): a loop that recomputes, or "
            "that works in smaller chunks"
        )


def _new_square(comparison: Comparison) -> Iterator[str]:
    """A cost that was linear at most in the lock has a quadratic term."""
    entry, growth = comparison.entry, comparison.measured.growth["macs"]
    if entry is None or growth.terms is None or not growth.terms[2]:
        return
    if entry.growth.get("macs") not in ("constant", "linear"):
        return
    _, linear, square = growth.terms
    locked, current = comparison.locked("macs"), comparison.current("macs")
    parts = [
        part
        for part, costs in current.items()
        if exponent_of(costs) > _MAX_LINEAR and exponent_of(locked.get(part, {})) <= _MAX_LINEAR
    ]
    origin = f", from {_operators(parts)} in {_modules_of(parts)}" if parts else ""
    crossover = (
        f"; it dominates the linear term from {format_tokens(int(linear / square) + 1)}"
        if linear > 0
        else ""
    )
    yield f"a new quadratic term: {float(square):,.6g} MACs · n²{origin}{crossover}"


def _wider_dtype(comparison: Comparison) -> Iterator[str]:
    """Tensors at the peak have a wider element type than before."""
    locked, current = comparison.locked("bytes"), comparison.current("bytes")
    wider = _wider_than_all(locked, current) or _wider_than_beside(locked, current)
    if wider:
        after = ", ".join(sorted({dtype_of(part) for part in wider}))
        before = ", ".join(sorted({dtype_of(part) for part in locked if dtype_size(part) > 0}))
        yield f"tensors at the peak are {after} (were {before}): {_describe(map(origin_of, wider))}"


def _hidden_square(comparison: Comparison) -> Iterator[str]:
    """Tensors of n × n elements at the peak, in a module without a quadratic product."""
    locked, current = comparison.locked("bytes"), comparison.current("bytes")
    macs = comparison.current("macs")
    multiplying = {module_of(part) for part, costs in macs.items() if is_quadratic(costs)}
    hidden: dict[str, list[str]] = defaultdict(list)
    for part, costs in current.items():
        module = module_of(origin_of(part))
        is_new = is_quadratic(costs) and not is_quadratic(locked.get(part, {}))
        if is_new and module not in multiplying:
            hidden[module].append(part)
    longest = comparison.lengths[-1]
    for module, parts in hidden.items():
        per_pair = sum(current[part].get(longest, 0) for part in parts) / longest**2
        yield (
            f"a mask or bias over all pairs: {_operators(map(origin_of, parts))} in "
            f"{module or 'the module itself'} takes {per_pair:.3g} B · n² at the peak, and that "
            f"module has no n × n product"
        )


def _changed_modules(comparison: Comparison) -> Iterator[str]:
    """Modules with parameters that are new, removed or of another size."""
    locked, current = comparison.locked("params"), comparison.current("params")
    added = [module for module in current if module not in locked]
    removed = [module for module in locked if module not in current]
    longest = comparison.lengths[-1]
    resized = [
        module
        for module in current
        if module in locked and current[module].get(longest) != locked[module].get(longest)
    ]
    if added:
        yield f"new modules with parameters: {_describe(added)}"
    if removed:
        yield f"removed modules with parameters: {_describe(removed)}"
    if resized:
        yield f"modules with another number of parameters: {_describe(resized)}"


def _scaled(comparison: Comparison) -> Iterator[str]:
    """Products whose MACs changed by the same factor at every length, in as many calls."""
    locked, current = comparison.locked("macs"), comparison.current("macs")
    calls_before, calls_after = comparison.locked("calls"), comparison.current("calls")
    longest = comparison.lengths[-1]
    scaled: dict[str, tuple[float, int]] = {}
    for part, costs in locked.items():
        if part not in current or calls_before.get(part) != calls_after.get(part):
            continue
        ratios = [current[part].get(n, 0) / costs[n] for n in comparison.lengths if costs.get(n)]
        if is_pairwise(part) and _is_one_factor(ratios):
            change = abs(current[part][longest] - costs[longest])
            scaled[part] = (float(f"{ratios[-1]:.3g}"), change)
    most = fold_most_first(scaled, lambda row: row[1])
    for part, (ratio, _) in list(most.items())[:1]:
        yield (
            f"{part} executes {ratio:g}x {comparison.baseline.owner} MACs at every length: a "
            f"different window, dilation or head size"
        )


def _versions(comparison: Comparison) -> Iterator[str]:
    """Another version of a package that counts depend on."""
    locked = comparison.entry.versions if comparison.entry is not None else {}
    for package in ("torch", "transformers"):
        before, after = locked.get(package), comparison.measured.versions.get(package)
        if before and after and before.partition("+")[0] != after.partition("+")[0]:
            yield f"locked with {package} {before}, measured with {after}"


_RULES: tuple[Callable[[Comparison], Iterable[str]], ...] = (
    _fused_lost,
    _dense_for_band,
    _globals_grow,
    _more_calls,
    _new_square,
    _wider_dtype,
    _hidden_square,
    _changed_modules,
    _scaled,
    _versions,
)


# --- conditions of the rules ----------------------------------------------------------------------


def _is_growing_product(part: str, costs: Mapping[int, int]) -> bool:
    return is_pairwise(part) and exponent_of(costs) > _MIN_GROWING


def _any_inside(parts: Iterable[str], module: str) -> bool:
    """Whether a part belongs to a module or to one of its submodules."""
    paths = map(module_of, parts)
    return any(not module or path == module or path.startswith(f"{module}.") for path in paths)


def _is_replaced(part: str, squares: Iterable[str], comparison: Comparison) -> bool:
    """Whether a locked part is gone, or quadratic now without being called more often."""
    if part not in comparison.current("macs"):
        return True
    longest = comparison.lengths[-1]
    before = comparison.locked("calls").get(part, {}).get(longest, 0)
    after = comparison.current("calls").get(part, {}).get(longest, 0)
    return part in squares and after <= before


def _has_mask(squares: Iterable[str], comparison: Comparison) -> bool:
    """Whether another operator than the quadratic products holds n × n elements at the peak."""
    return any(
        is_quadratic(costs) and origin_of(part) not in squares
        for part, costs in comparison.current("bytes").items()
    )


def _wider_than_all(locked: Parts, current: Parts) -> list[str]:
    """Parts of the peak whose elements are wider than any in the lock."""
    widest = max(map(dtype_size, locked), default=0)
    return [part for part in current if dtype_size(part) > widest > 0]


def _wider_than_beside(locked: Parts, current: Parts) -> list[str]:
    """New parts of the peak with wider elements than the same operator had in the lock."""
    sizes: dict[str, list[int]] = defaultdict(list)
    for part in locked:
        if dtype_size(part) > 0:
            sizes[origin_of(part)].append(dtype_size(part))
    return [
        part
        for part in current
        if part not in locked and any(size < dtype_size(part) for size in sizes[origin_of(part)])
    ]


def _is_one_factor(ratios: list[float]) -> bool:
    """Whether a cost changed, and by about the same factor at each of several lengths."""
    if len(ratios) < 2:
        return False
    is_changed = any(abs(ratio - 1) >= _MIN_CHANGE for ratio in ratios)
    return is_changed and 0 < max(ratios) < _MAX_RATIO_SPREAD * min(ratios)


# --- parts in words -------------------------------------------------------------------------------


def _describe(modules: Iterable[str]) -> str:
    """Names of modules, equal layers in one, at most `_MAX_MODULES` of them."""
    folded = list(fold(dict.fromkeys(modules, 0)))
    names = ", ".join(module or "the module itself" for module in folded[:_MAX_MODULES])
    others = len(folded) - _MAX_MODULES
    return f"{names} and {others} more" if others > 0 else names


def _operators(parts: Iterable[str]) -> str:
    return ", ".join(sorted({operator_of(part) for part in parts}))


def _modules_of(parts: Iterable[str]) -> str:
    return _describe(map(module_of, parts))
