"""What most likely happened, where the evidence shows it: rules on the parts before and now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from attnprof.core.workload import DTYPE_BYTES
from attnprof.guard.changes import Comparison
from attnprof.guard.parts import exponent_of, fold, fold_most_first

_FUSED = ("scaled_dot_product", "flex_attention", "banded_attention")
_BAND = "banded_attention"
_PRODUCTS = ("aten.bmm", "aten.baddbmm", "aten.mm", "aten.matmul")
_SQUARE = 1.7
_LINEAR = 1.3
_BANDED = 0.5
"""Exponents between the contract's longest two lengths, above which a part counts as quadratic,
below which as linear at most, and above which as growing at all."""

_MOST = 4

_SCALED = 0.002
"""Changes of a part below this are too small to speak of factors."""

_ALIKE = 1.25
"""Ratios within this are alike: a band is cut off at both ends of a short sequence."""


def explain(versus: Comparison) -> list[str]:
    """Sentences, likeliest first; none where nothing is locked to compare with."""
    if versus.entry is None:
        return []
    found = [sentence for rule in _RULES for sentence in rule(versus)]
    return list(dict.fromkeys(found))[:_MOST]


def _operator(part: str) -> str:
    return part.rpartition(" ")[2]


def _place(part: str) -> str:
    return part.rpartition(" ")[0]


def _named(places: Iterable[str]) -> str:
    """Places in words: layers alike as one, no more than three."""
    folded = list(fold(dict.fromkeys(places, 0)))
    words = [place or "the module itself" for place in folded[:3]]
    return ", ".join(words) + f" and {len(folded) - 3} more" * (len(folded) > 3)


def _fused_lost(versus: Comparison) -> Iterator[str]:
    was, now = versus.locked("macs"), versus.now("macs")
    lost = {
        _place(part): _operator(part)
        for part in was
        if part not in now and any(word in part for word in _FUSED)
    }
    products = [p for p in now if p not in was and _operator(p) in _PRODUCTS]
    places = [
        place
        for place in lost
        if any(_place(p) == place or _place(p).startswith(f"{place}.") for p in products)
        or not place
    ]
    if products and places:
        operators = ", ".join(sorted({lost[place] for place in places}))
        now_operators = ", ".join(sorted({_operator(part) for part in products}))
        yield (
            f"fused attention was replaced by a materialised product: {operators} in "
            f"{_named(places)} is now {now_operators}, whose n × n scores stand in memory"
        )


def _dense_for_band(versus: Comparison) -> Iterator[str]:
    """What read a band is gone, or reads all pairs; nothing read all pairs before."""
    was, now = versus.locked("macs"), versus.now("macs")
    if any(exponent_of(costs) > _SQUARE for costs in was.values()):
        return
    squares = [p for p, costs in now.items() if _is_pairwise(p) and exponent_of(costs) > _SQUARE]
    bands = {_place(part) for part in now if _BAND in part}
    replaced = [
        part
        for part, costs in was.items()
        if _is_pairwise(part)
        and _place(part) not in bands
        and exponent_of(costs) > _BANDED
        and (part not in now or (part in squares and not _is_called_more(part, versus)))
    ]
    if replaced and squares:
        masks = [
            part
            for part, costs in versus.now("bytes").items()
            if exponent_of(costs) > _SQUARE and _place(part) not in squares
        ]
        hint = "; under a mask, it multiplies what the mask hides" if masks else ""
        before = "a band" if any(_BAND in part for part in replaced) else "one linear in the length"
        yield (
            f"a dense product of all pairs stands where {before} was: {_operators(squares)} in "
            f"{_places(squares)}{hint}"
        )


def _globals_grow(versus: Comparison) -> Iterator[str]:
    """A band that is there as before, and beside it what reads all keys."""
    was, now = versus.locked("macs"), versus.now("macs")
    bands = {_place(p) for p in was if _BAND in p} & {_place(p) for p in now if _BAND in p}
    grown = [
        part
        for part, costs in now.items()
        if _place(part) in bands
        and exponent_of(costs) > _LINEAR
        and exponent_of(was.get(part, {})) < _LINEAR
    ]
    if grown:
        yield (
            f"the band is as it was, and {_operators(grown)} beside it in {_places(grown)} reads "
            f"all keys from more positions as the length grows: global tokens that grow with n"
        )


def _is_called_more(part: str, versus: Comparison) -> bool:
    longest = versus.lengths[-1]
    before = versus.locked("calls").get(part, {}).get(longest, 0)
    return versus.now("calls").get(part, {}).get(longest, 0) > before


def _operators(parts: Iterable[str]) -> str:
    return ", ".join(sorted({_operator(part) for part in parts}))


def _places(parts: Iterable[str]) -> str:
    return _named(map(_place, parts))


def _is_pairwise(part: str) -> bool:
    return _operator(part) in _PRODUCTS or any(word in part for word in _FUSED)


def _wider_dtype(versus: Comparison) -> Iterator[str]:
    was, now = versus.locked("bytes"), versus.now("bytes")
    sizes = {_operator(part): DTYPE_BYTES.get(_operator(part), 0) for part in {*was, *now}}  # pyright: ignore[reportArgumentType, reportCallIssue]
    widest = max((sizes[_operator(part)] for part in was), default=0)
    wider = [part for part in now if sizes[_operator(part)] > widest > 0]
    if not wider:
        # Wider tensors that there were too may be more now, in place of narrower ones.
        for part in now:
            place = _place(part)
            others = [p for p in was if _place(p) == place and sizes[_operator(p)] > 0]
            if part not in was and any(
                sizes[_operator(p)] < sizes[_operator(part)] for p in others
            ):
                wider.append(part)
    if wider:
        names = sorted({_operator(part) for part in wider})
        before = sorted({_operator(part) for part in was if sizes[_operator(part)] > 0})
        yield (
            f"tensors at the peak are {', '.join(names)} where they were {', '.join(before)}: "
            f"{_named(map(_place, wider))}"
        )


def _hidden_square(versus: Comparison) -> Iterator[str]:
    """Numbers for all pairs in a module that multiplies no such pairs."""
    was, now = versus.locked("bytes"), versus.now("bytes")
    products = {
        _place(p) for p, costs in versus.now("macs").items() if exponent_of(costs) > _SQUARE
    }
    hidden: dict[str, list[str]] = defaultdict(list)
    for part, costs in now.items():
        place = _place(_place(part))
        is_new = exponent_of(costs) > _SQUARE and exponent_of(was.get(part, {})) <= _SQUARE
        if is_new and place not in products:
            hidden[place].append(part)
    for place, parts in hidden.items():
        longest = versus.lengths[-1]
        numbers = sum(now[part].get(longest, 0) for part in parts) / longest**2
        yield (
            f"{_operators(map(_place, parts))} in {place or 'the module itself'} holds n × n "
            f"numbers at the peak, {numbers:.3g} B · n², and multiplies nothing: a mask or a bias "
            f"of all pairs"
        )


def _new_square(versus: Comparison) -> Iterator[str]:
    entry, seen = versus.entry, versus.measured.growth["macs"]
    if entry is None or seen.terms is None or not seen.terms[2]:
        return
    if entry.growth.get("macs") not in ("constant", "linear"):
        return
    _, linear, square = seen.terms
    was, now = versus.locked("macs"), versus.now("macs")
    squares = [
        part
        for part, costs in now.items()
        if exponent_of(costs) > _LINEAR and exponent_of(was.get(part, {})) <= _LINEAR
    ]
    places = f" of {_operators(squares)} in {_places(squares)}" if squares else ""
    overtakes = (
        f"; it overtakes the linear part at {int(linear / square) + 1:,} tokens"
        if linear > 0
        else ""
    )
    yield f"a new quadratic term, {float(square):,.6g} MACs · n²{places}{overtakes}"


def _more_calls(versus: Comparison) -> Iterator[str]:
    was, now = versus.locked("calls"), versus.now("calls")
    longest = versus.lengths[-1]
    more: dict[str, tuple[int, int]] = {}
    for part, before in was.items():
        calls, called = before.get(longest, 0), now.get(part, {}).get(longest, 0)
        if calls and called >= 2 * calls:
            more[part] = (calls, called)
    most = fold_most_first(more, lambda row: row[1] - row[0])
    for part, (calls, called) in list(most.items())[:1]:
        yield (
            f"{part} runs {called:,} times where it ran {calls:,}: a loop that computes anew, or "
            f"in smaller pieces"
        )


def _modules(versus: Comparison) -> Iterator[str]:
    was, now = versus.locked("params"), versus.now("params")
    came = [place for place in now if place not in was]
    went = [place for place in was if place not in now]
    if came:
        yield f"new modules with parameters: {_named(came)}"
    if went:
        yield f"modules that are gone: {_named(went)}"
    n = versus.lengths[-1]
    sized = [p for p in now if p in was and now[p].get(n) != was[p].get(n)]
    if sized:
        yield f"modules of another size: {_named(sized)}"


def _scaled(versus: Comparison) -> Iterator[str]:
    """Products that cost so many times what they did, at every length alike, in as many calls."""
    was, now = versus.locked("macs"), versus.now("macs")
    called_was, called_now = versus.locked("calls"), versus.now("calls")
    longest = versus.lengths[-1]
    scaled: dict[str, tuple[float, int]] = {}
    for part in was:
        if part not in now or called_was.get(part) != called_now.get(part):
            continue
        ratios = [now[part].get(n, 0) / was[part][n] for n in versus.lengths if was[part].get(n)]
        is_changed = any(abs(ratio - 1) >= _SCALED for ratio in ratios)
        if is_changed and _is_pairwise(part) and 0 < max(ratios) < _ALIKE * min(ratios):
            change = abs(now[part][longest] - was[part][longest])
            scaled[part] = (float(f"{ratios[-1]:.3g}"), change)
    most = fold_most_first(scaled, lambda row: row[1])
    for part, (ratio, _) in list(most.items())[:1]:
        yield (
            f"{part} multiplies {ratio:g} times what it did, at every length alike: another "
            f"window, other dilations, or heads of another size"
        )


def _versions(versus: Comparison) -> Iterator[str]:
    locked = versus.entry.versions if versus.entry is not None else {}
    for package in ("torch", "transformers"):
        was, now = locked.get(package), versus.measured.versions.get(package)
        if was and now and was.partition("+")[0] != now.partition("+")[0]:
            yield f"locked with {package} {was}, measured with {now}"


_RULES: tuple[Callable[[Comparison], Iterable[str]], ...] = (
    _fused_lost,
    _dense_for_band,
    _globals_grow,
    _more_calls,
    _new_square,
    _wider_dtype,
    _hidden_square,
    _modules,
    _scaled,
    _versions,
)
