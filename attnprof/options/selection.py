"""Reads the options of a comparison, or a study, into groups of cases and a shard of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypedDict, cast

from attnprof import kernels
from attnprof.core.errors import UsageError, suggest
from attnprof.core.lengths import parse_lengths
from attnprof.core.mask_pattern import format_mask
from attnprof.core.notation import format_dilation, format_global_tokens, format_window
from attnprof.core.record_lines import identity_of
from attnprof.core.shape import read_shape
from attnprof.core.workload import Case, Device
from attnprof.kernels.custom.reference import split_names
from attnprof.options import (
    GridOptions,
    read_cases,
    read_device_name,
    read_kernel_names,
    read_lengths,
    read_patterns,
    read_scope,
)
from attnprof.options.scalars import scalars_of, setting_names
from attnprof.options.shards import WHOLE, Shard, groups_of_shard, read_shard
from attnprof.options.study import KEYS, SCALARS, Table, read_study

_PATTERNS = {
    "window": format_window,
    "dilation": format_dilation,
    "global_tokens": format_global_tokens,
    "pattern": format_mask,
}

_SHOWN_OPTIONS = 3


class StudyOptions(TypedDict, total=False):
    """Options that select the cases of a study, and a part of them."""

    sweep: str | None
    shard: str | None


@dataclass(frozen=True, slots=True)
class Combination:
    """Options with one value of each scalar: cases of one length are compared with one another.

    Attributes:
        options: as in Python or on the command line.
        table: of the study that has them; None for those of the command line.
        excludes: tables of the study whose cases are left out.
    """

    options: GridOptions
    table: Table | None = None
    excludes: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """What a comparison costs, before devices are known.

    Attributes:
        combinations: of the command line, one; of a study, any number.
        shard: the part that is run.
    """

    combinations: tuple[Combination, ...]
    shard: Shard = WHOLE

    @property
    def kernel_names(self) -> list[str]:
        """The names of all kernels, each once.

        Raises:
            UsageError: for the first value that cannot be used.
        """
        names: dict[str, None] = {}
        for combination in self.combinations:
            try:
                names |= dict.fromkeys(read_kernel_names(combination.options))
            except UsageError as error:
                raise _in_study(combination, error) from error
        return list(names)

    @property
    def device_names(self) -> list[str]:
        """The names of all devices, `auto` among them, each once.

        Raises:
            UsageError: for a name that no device has.
        """
        names: dict[str, None] = {}
        for combination in self.combinations:
            try:
                names[read_device_name(combination.options)] = None
            except UsageError as error:
                raise _in_study(combination, error) from error
        return list(names)


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a comparison: their cases are timed in the same rounds.

    Attributes:
        every: all groups of the study, in ascending lengths; a case is in one of them.
        shard: the part that is run.
        settings: for each case, the name of what it shares with those that it is compared with, of
            the options of which a study has several values; empty where it has none.
    """

    every: tuple[tuple[Case, ...], ...]
    shard: Shard
    settings: Mapping[Case, str]

    @property
    def here(self) -> list[tuple[Case, ...]]:
        """The groups of the shard."""
        return groups_of_shard(self.every, self.shard)

    @property
    def digest(self) -> str:
        """Identifies the cases of the whole study, whatever their shard and the machine."""
        return digest_of(self.every)


def digest_of(groups: Iterable[Sequence[Case]]) -> str:
    """Identifies cases, in whatever order they are."""
    lines = sorted(
        json.dumps(identity_of(case.kernel, case.workload)) for group in groups for case in group
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def read_selection(options: Mapping[str, object]) -> Selection:
    """What options select: those of one comparison, or the study that `sweep` names.

    Raises:
        UsageError: for a study or a shard that cannot be used, and for options that select cases
            beside a study.
    """
    shard = read_shard(cast("str | None", options.get("shard")))
    path = options.get("sweep")
    if path is None:
        return Selection((Combination(cast("GridOptions", options)),), shard)
    _reject_beside_study(options, str(path))
    study = read_study(str(path))
    combinations = [Combination(o, study.grid, study.excludes) for o in study.grid.combinations()]
    for table in study.includes:
        combinations += [Combination(chosen, table) for chosen in table.combinations()]
    return Selection(tuple(combinations), shard)


def _reject_beside_study(options: Mapping[str, object], path: str) -> None:
    given = [f"--{key.replace('_', '-')}" for key in KEYS if options.get(key) is not None]
    if given:
        more = f" and {len(given) - _SHOWN_OPTIONS} more" if len(given) > _SHOWN_OPTIONS else ""
        shown = ", ".join(given[:_SHOWN_OPTIONS])
        raise UsageError("sweep", path, f"selects the cases; remove {shown}{more}")


def read_groups(selection: Selection, devices: Mapping[str, Device]) -> Groups:
    """The groups of a comparison: a combination of options at one length each.

    Args:
        selection: what is costed.
        devices: where cases run, by the names of `Selection.device_names`.

    Raises:
        UsageError: for the first value that cannot be used, for an exclude that leaves nothing out,
            and where all of them leave no case.
    """
    every = [_choose(combination, devices) for combination in selection.combinations]
    names = setting_names([c.options.keys() for c in every], [c.scalars for c in every])
    groups: dict[tuple[int, Hashable], dict[Case, None]] = {}
    settings: dict[Case, str] = {}
    matched: set[int] = set()
    for combination, chosen, name in zip(selection.combinations, every, names, strict=True):
        cases = chosen.cases
        for index, exclude in enumerate(combination.excludes):
            left = _without(exclude, chosen, cases)
            if len(left) < len(cases):
                matched.add(index)
            cases = left
        compared = tuple(chosen.scalars.items())
        for case in cases:
            if case not in settings:
                settings[case] = name
                groups.setdefault((case.workload.seq_len, compared), {})[case] = None
    _check_excludes(selection, matched, {case.kernel for chosen in every for case in chosen.cases})
    first = selection.combinations[0].table
    if not groups and first is not None:
        raise UsageError("sweep", first.file, "the excludes leave no case")
    ordered = sorted(groups.items(), key=lambda item: item[0][0])
    return Groups(tuple(tuple(cases) for _, cases in ordered), selection.shard, settings)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A combination on its device: the value of each scalar, and the cases."""

    options: GridOptions
    scalars: Mapping[str, str]
    cases: tuple[Case, ...]


def _choose(combination: Combination, devices: Mapping[str, Device]) -> _Chosen:
    options = combination.options
    device = devices[read_device_name(options)]
    try:
        cases = read_cases(options, device)
        return _Chosen(options, scalars_of(options, device), cases)
    except UsageError as error:
        raise _in_study(combination, error) from error


def _in_study(combination: Combination, error: UsageError) -> UsageError:
    return error if combination.table is None else combination.table.rejected(error)


def _without(exclude: Table, chosen: _Chosen, cases: Sequence[Case]) -> tuple[Case, ...]:
    """The cases that an exclude keeps: those of which something that it names differs."""
    if not _has_scalars(exclude, chosen):
        return tuple(cases)
    lengths, names = _lengths(exclude), _kernels(exclude)
    patterns = _patterns(exclude, chosen.options)
    return tuple(
        case
        for case in cases
        if not (
            (lengths is None or case.workload.seq_len in lengths)
            and (names is None or _is_named(case, names))
            and _has_pattern(case, patterns)
        )
    )


def _has_scalars(exclude: Table, chosen: _Chosen) -> bool:
    """Whether a combination has one of the values of each scalar that an exclude names."""
    names = {"device": read_device_name(chosen.options)}
    return all(
        set(exclude.texts(key)) & {chosen.scalars[key], names.get(key, "")}
        for key in SCALARS
        if key in exclude.values
    )


def _lengths(exclude: Table) -> set[int] | None:
    if "len" not in exclude.values:
        return None
    try:
        words = (part.strip() for word in exclude.texts("len") for part in word.split(","))
        return {length for word in words for length in parse_lengths(word)}
    except UsageError as error:
        raise exclude.rejected(error) from error


def _kernels(exclude: Table) -> set[str] | None:
    if "kernel" not in exclude.values:
        return None
    return {name for word in exclude.texts("kernel") for name in split_names(word)}


def _is_named(case: Case, names: Collection[str]) -> bool:
    """Whether the kernel is one of the names; a custom one also without its inputs."""
    bare = case.kernel.partition("(")[0] if kernels.is_custom(case.kernel) else case.kernel
    return case.kernel in names or bare in names


def _patterns(exclude: Table, options: GridOptions) -> dict[str, set[str]]:
    """For each key of patterns that an exclude names, the values as rows have them."""
    found: dict[str, set[str]] = {}
    for key, form in _PATTERNS.items():
        if key not in exclude.values:
            continue
        found[key] = set()
        chosen = cast("GridOptions", {**options, key: exclude.texts(key)})
        with suppress(UsageError):  # what no pattern of this combination has, matches none
            shape = read_shape(chosen)
            scope = read_scope(chosen, read_kernel_names(chosen), shape)
            patterns = read_patterns(chosen, shape, scope, read_lengths(chosen))
            found[key] = {form(pattern) for pattern in patterns if not _is_dense(pattern.layers)}
    return found


def _is_dense(layers: Iterable[object]) -> bool:
    return all(getattr(layer, "is_dense", False) for layer in layers)


def _has_pattern(case: Case, patterns: Mapping[str, Collection[str]]) -> bool:
    """Whether each key has one of its values; dense attention has no window."""
    return all(
        not case.workload.is_dense and _PATTERNS[key](case.workload.pattern) in values
        for key, values in patterns.items()
    )


def _check_excludes(
    selection: Selection, matched: Collection[int], kernel_names: Collection[str]
) -> None:
    """Refuse what leaves no case out, which is a typing mistake.

    Args:
        selection: whose first combination has the excludes.
        matched: the indices of excludes that left something out.
        kernel_names: of all cases.
    """
    bare = {name.partition("(")[0] for name in kernel_names if kernels.is_custom(name)}
    known = {*kernel_names, *bare}
    for index, exclude in enumerate(selection.combinations[0].excludes):
        for name in _kernels(exclude) or ():
            if name not in known:
                raise exclude.error("kernel", name, f"is not in the grid; {suggest(name, known)}")
        if index not in matched:
            raise exclude.error("", None, "matches no case of the grid; correct or remove it")
