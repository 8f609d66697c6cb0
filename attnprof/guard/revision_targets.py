"""What a diff measures: the contracts of the head, or targets that the command line names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

from attnprof import kernels
from attnprof.core.errors import UsageError
from attnprof.guard.cases import case_of
from attnprof.guard.config import Configuration, read_configuration
from attnprof.guard.contract import QUANTITIES, ConfigurationError, Contract, parse_allowance
from attnprof.guard.contract_parser import TARGET_INDEPENDENT
from attnprof.guard.revision_costs import RevisionPair
from attnprof.guard.revisions import Repository, Revision, Worktrees
from attnprof.options import GridOptions, read_kernel_names, read_lengths

_LISTS = ("window", "dilation", "global_tokens", "pattern")


@dataclass(frozen=True, slots=True)
class Revisions:
    """A repository, the revision that is compared with, and the one that is judged."""

    repository: Repository
    base: Revision
    head: Revision


def contracts_of(revisions: Revisions, trees: Worktrees, config: str | None) -> RevisionPair:
    """The contracts of the head.

    Args:
        revisions: which ones.
        trees: have the files of the head.
        config: the file with the contracts, as the user named it; None for the nearest one.

    Raises:
        ConfigurationError: when there is no contract, and for the first error in the files.
    """
    repository, head = revisions.repository, revisions.head
    root, tree = repository.root, trees.path(head)
    path = None if config is None else _within(Path(config), root, tree)
    try:
        configuration = read_configuration(path, start=_within(Path.cwd(), root, tree))
    except ConfigurationError as error:
        message = str(error).replace(f"{tree}{os.sep}", "" if head.is_checkout else f"{head.name}:")
        if not head.is_checkout:  # the folder itself has no contract
            message = message.replace(f"{tree}:", f"{head.name}:")
        raise ConfigurationError(message) from error
    if not configuration.folder.resolve().is_relative_to(tree):
        raise ConfigurationError(f"{configuration.folder}: is not in the repository {root}")
    folder = PurePosixPath(configuration.folder.resolve().relative_to(tree))
    contracts = {
        name: replace(contract, file=root / folder / contract.file.name)
        for name, contract in configuration.contracts.items()
    }
    return RevisionPair(
        repository=repository,
        base=revisions.base,
        head=head,
        configuration=replace(configuration, contracts=contracts),
        contracts=tuple(contracts.values()),
        folder=folder,
    )


def targets_of(revisions: Revisions, trees: Worktrees, options: GridOptions) -> RevisionPair:
    """Targets without limits, in place of contracts.

    Raises:
        UsageError: for the first option that cannot be used.
    """
    contracts = targets(options)
    root = revisions.repository.root
    folder = PurePosixPath(Path.cwd().resolve().relative_to(root))
    by_name = {contract.name: contract for contract in contracts}
    return RevisionPair(
        repository=revisions.repository,
        base=revisions.base,
        head=revisions.head,
        configuration=Configuration(trees.path(revisions.head) / folder, by_name),
        contracts=tuple(contracts),
        folder=folder,
        has_contracts=False,
    )


def targets(options: GridOptions) -> Sequence[Contract]:
    """A contract without limits for each kernel of the options.

    Raises:
        UsageError: for the first option that cannot be used, and for one with several values.
    """
    lengths = tuple(read_lengths(options))
    shape: dict[str, str | int] = {
        name: _only(name, value)
        for name, value in options.items()
        if name not in ("kernel", "len", "input") and value not in (None, [], ())
    }
    independent = {name: value for name, value in shape.items() if name in TARGET_INDEPENDENT}
    contracts: list[Contract] = []
    for name in read_kernel_names(options):
        is_custom = kernels.is_custom(name)
        case_of("bert-sdpa" if is_custom else name, lengths[0], independent if is_custom else shape)
        contracts.append(
            Contract(
                name=name,
                file=Path(),
                line=0,
                target=name,
                lengths=lengths,
                options=shape,
                allowances={quantity: parse_allowance("any") for quantity in QUANTITIES},
                forbids_uncounted=False,
            )
        )
    return contracts


def _only(name: str, value: object) -> str | int:
    """The value of an option; a list must have one.

    Raises:
        UsageError: when it has several.
    """
    if name not in _LISTS or isinstance(value, str | int):
        return cast("str | int", value)
    values = [str(each) for each in cast("Sequence[object]", value)]
    if len(values) != 1:
        raise UsageError(name, " ".join(values), "must be one value: revisions are compared")
    return values[0]


def _within(path: Path, root: Path, tree: Path) -> Path:
    """A path in the checkout, as a path in the files of a revision."""
    resolved = path.resolve()
    return tree / resolved.relative_to(root) if resolved.is_relative_to(root) else path


def options_of(values: Mapping[str, Any]) -> GridOptions:
    """The options of the command line that select targets."""
    names = GridOptions.__annotations__
    return cast("GridOptions", {name: value for name, value in values.items() if name in names})
