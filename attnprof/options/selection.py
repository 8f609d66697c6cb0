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
from attnprof.core.result_table import identity_of
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
    """

    every: tuple[tuple[Case, ...], ...]
    shard: Shard

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
        UsageError: for the first value that cannot be used, and for an exclude that leaves nothing
            out.
    """
    groups: dict[tuple[int, Hashable], dict[Case, None]] = {}
    known: set[Case] = set()
    matched: set[int] = set()
    for combination in selection.combinations:
        device = devices[read_device_name(combination.options)]
        try:
            cases = read_cases(combination.options, device)
            setting = _setting(combination.options, device)
        except UsageError as error:
            raise _in_study(combination, error) from error
        for index, exclude in enumerate(combination.excludes):
            left = _without(exclude, combination.options, device, cases)
            if len(left) < len(cases):
                matched.add(index)
            cases = left
        for case in cases:
            if case not in known:
                known.add(case)
                groups.setdefault((case.workload.seq_len, setting), {})[case] = None
    _check_excludes(selection, matched)
    ordered = sorted(groups.items(), key=lambda item: item[0][0])
    return Groups(tuple(tuple(cases) for _, cases in ordered), selection.shard)


def _in_study(combination: Combination, error: UsageError) -> UsageError:
    return error if combination.table is None else combination.table.rejected(error)


def _setting(options: GridOptions, device: Device) -> Hashable:
    """What cases that are compared share, whatever their patterns."""
    return (
        read_shape(options),
        options.get("dtype") or "float32",
        options.get("mode") or "inference",
        device,
        options.get("scope") or "",
    )


def _without(
    exclude: Table, options: GridOptions, device: Device, cases: Sequence[Case]
) -> tuple[Case, ...]:
    """The cases that an exclude keeps: those of which something that it names differs."""
    if not _has_scalars(exclude, options, device):
        return tuple(cases)
    lengths, names, patterns = (
        _lengths(exclude),
        _kernels(exclude),
        _patterns(exclude, options),
    )
    return tuple(
        case
        for case in cases
        if not (
            (lengths is None or case.workload.seq_len in lengths)
            and (names is None or _is_named(case, names))
            and _has_pattern(case, patterns)
        )
    )


def _has_scalars(exclude: Table, options: GridOptions, device: Device) -> bool:
    actual = _scalars(options, device)
    return all(
        {str(value) for value in exclude.values[key]} & actual[key]
        for key in SCALARS
        if key in exclude.values
    )


def _scalars(options: GridOptions, device: Device) -> dict[str, set[str]]:
    """The value of each scalar as text, defaults included; two for a device that was chosen."""
    shape = read_shape(options)
    mode = options.get("mode") or "inference"
    head_dim = shape.head_dim or shape.hidden_size // shape.num_heads
    return {
        "model": {shape.model.name},
        "hidden_size": {str(shape.hidden_size)},
        "num_heads": {str(shape.num_heads)},
        "kv_heads": {str(shape.kv_heads or shape.num_heads)},
        "head_dim": {str(head_dim)},
        "value_dim": {str(shape.value_dim or head_dim)},
        "causal": {str(shape.causal)},
        "new_tokens": {str(shape.new_tokens or (1 if mode == "decode" else 0))},
        "batch_size": {str(shape.batch_size)},
        "dtype": {str(options.get("dtype") or "float32")},
        "device": {device, read_device_name(options)},
        "mode": {mode},
        "scope": {read_scope(options, read_kernel_names(options), shape)},
    }


def _lengths(exclude: Table) -> set[int] | None:
    if "len" not in exclude.values:
        return None
    try:
        words = (part.strip() for word in exclude.values["len"] for part in str(word).split(","))
        return {length for word in words for length in parse_lengths(word)}
    except UsageError as error:
        raise exclude.rejected(error) from error


def _kernels(exclude: Table) -> set[str] | None:
    if "kernel" not in exclude.values:
        return None
    return {name for word in exclude.values["kernel"] for name in split_names(str(word))}


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
        chosen = cast("GridOptions", {**options, key: list(exclude.values[key])})
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


def _check_excludes(selection: Selection, matched: Collection[int]) -> None:
    """Refuse an exclude that leaves no case out, which is a typing mistake."""
    first = selection.combinations[0]
    for index, exclude in enumerate(first.excludes):
        if index in matched:
            continue
        grid = first.table
        names = [] if grid is None else [str(name) for name in grid.values.get("kernel", ())]
        for word in exclude.values.get("kernel", ()):
            if names and not any(str(word) == name.partition("(")[0] for name in names):
                expected = f"no kernel of the grid; {suggest(str(word), names)}"
                raise exclude.error("kernel", word, expected)
        raise exclude.error("", None, "matches no case of the grid; correct or remove it")
