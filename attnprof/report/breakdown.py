"""The table of MACs by module and operator in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich.text import Text

from attnprof.analysis.breakdown_table import Breakdown, Part, own_parts
from attnprof.core.units import format_count, format_macs, format_share, format_tokens
from attnprof.report.columns import EMPTY
from attnprof.report.text_table import TextRow, fit_table


def render_breakdown(breakdown: Breakdown, width: int) -> Text:
    """For each kernel and length: the tree of modules, then the operators that have MACs.

    Where a module computes something outside its submodules, a line says how much, so that the
    lines below a module add up to it.

    Args:
        breakdown: the parts.
        width: of the table, in characters.
    """
    own = own_parts(breakdown.parts)
    rows: list[TextRow] = []
    for (kernel, seq_len, by), group in groupby(breakdown.parts, key=_heading):
        rows.append(TextRow((f"{kernel}, {format_tokens(seq_len)}, by {by}",), "bold"))
        parts = [part for part in group if part.macs != 0]
        if by == "operator":
            parts.sort(key=lambda part: -(part.macs or 0))
            rows += [TextRow(_cells(f"  {part.part}", part)) for part in parts]
        else:
            of_case = {
                part: itself for (*case, part), itself in own.items() if case == [kernel, seq_len]
            }
            rows += [TextRow(_cells(name, part)) for name, part in _tree(parts, of_case)]
    return fit_table(("part", "calls", "MACs", "share", "growth"), rows, width)


def _heading(part: Part) -> tuple[str, int, str]:
    return part.kernel, part.seq_len, part.by


def _tree(modules: Sequence[Part], own: Mapping[str, Part]) -> Iterator[tuple[str, Part]]:
    """Each module by its indented name, its submodules as they ran, its own work.

    Args:
        modules: all modules of a case, the root among them.
        own: what modules compute outside their submodules, by path.
    """
    children: dict[str, list[Part]] = {}
    for module in modules:
        if module.part:
            children.setdefault(module.part.rpartition(".")[0], []).append(module)

    def below(module: Part, depth: int) -> Iterator[tuple[str, Part]]:
        name = module.part.rpartition(".")[2]
        yield "  " * depth + (name or "all"), module
        for child in children.get(module.part, []):
            yield from below(child, depth + 1)
        if module.part in own:
            itself = f"({name} itself)" if name else "(itself)"
            yield "  " * (depth + 1) + itself, own[module.part]

    for root in modules:
        if not root.part:
            yield from below(root, 1)


def _cells(name: str, part: Part) -> tuple[str, ...]:
    return (
        name,
        format_count(part.calls),
        "uncounted" if part.macs is None else format_macs(part.macs, unit=""),
        EMPTY if part.share is None else format_share(part.share, 1),
        EMPTY if part.growth is None else f"n^{part.growth:.2f}",
    )
