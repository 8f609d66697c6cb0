"""Findings in plain words, one sentence a line."""

from __future__ import annotations

from attnprof import kernels
from attnprof.findings import CounterFinding, Findings, GrowthFinding, PayFinding
from attnprof.notation import (
    format_dilation,
    format_global_tokens,
    format_window,
    shorten_positions,
)
from attnprof.records import ResultTable, Row, describe_extent
from attnprof.series import labels
from attnprof.units import format_count, format_macs, format_ratio, format_share
from attnprof.workload import Workload


def describe_subject(table: ResultTable) -> str:
    """What the rows are the costs of, as a heading."""
    whole = any(row.workload.scope == "layer" for row in table.rows)
    return "Encoder" if whole else "Self-attention"


def describe_setting(table: ResultTable) -> str:
    """The shape and pattern that the rows share, in a line."""
    rows = table.rows
    if not rows:
        return "nothing to cost"
    workload = rows[0].workload
    built_in = [row.workload for row in rows if not kernels.is_own(row.kernel)]
    patterns = [own for own in built_in if not own.is_dense]
    pattern = _shared_pattern(patterns) if patterns else "dense" * bool(built_in)
    shapes = dict.fromkeys((row.workload.hidden_size, row.workload.num_heads) for row in rows)
    shape = " and ".join(f"hidden {hidden}, {heads} heads" for hidden, heads in shapes)
    extents = dict.fromkeys(describe_extent(row.workload) for row in rows)
    extent = "".join(f"{text}, " for text in extents if text)
    setting = (
        f"{extent}{shape}, "
        f"batch {workload.batch_size}, {workload.dtype}, {workload.device}, {workload.mode}"
    )
    return f"{setting}; {pattern}" if pattern else setting


def _shared_pattern(workloads: list[Workload]) -> str:
    parts = (
        ("window", {format_window(workload.pattern) for workload in workloads}),
        ("dilation", {format_dilation(workload.pattern) for workload in workloads}),
        ("global tokens", {shorten_positions(format_global_tokens(w.pattern)) for w in workloads}),
    )
    return ", ".join(f"{name} {values.pop()}" for name, values in parts if len(values) == 1)


def describe_findings(findings: Findings) -> list[tuple[str, list[str]]]:
    """Headings, each with its sentences; headings without any are left out."""
    sections = [
        ("Growth of the MACs executed", _growth_lines(findings.growth)),
        ("From which length it pays", _pay_lines(findings.pays)),
        ("What ptflops counted", _counter_lines(findings.counters)),
    ]
    return [(heading, lines) for heading, lines in sections if lines]


def _growth_lines(growth: tuple[GrowthFinding, ...]) -> list[str]:
    """Series that grow alike share a line."""
    by_text: dict[str, list[str]] = {}
    for finding in growth:
        by_text.setdefault(_growth_text(finding), []).append(finding.label)
    return [f"{', '.join(names)}: {text}" for text, names in by_text.items()]


def _growth_text(finding: GrowthFinding) -> str:
    growth = finding.growth
    steps = f", in steps of {format_count(finding.step)} tokens (padding)" * (finding.step > 1)
    if finding.doubling is not None:
        ends = (
            f"{format_count(finding.doubling.shorter)} to {format_count(finding.doubling.longer)}"
        )
        return (
            f"as n^{finding.doubling.exponent:.2f}{steps}, from {ends} tokens; no exact polynomial."
        )
    if growth.law != "n²":
        return f"as {growth.law}{steps}; no n² term."
    share = 100 * growth.quadratic_share(finding.longest)
    overtakes = growth.quadratic_overtakes_at
    at = f", more than the linear one from {format_count(overtakes)} on" if overtakes else ""
    return (
        f"as n²{steps}. The n² term is {share:.1f} % at {format_count(finding.longest)} tokens{at}."
    )


def _pay_lines(pays: tuple[PayFinding, ...]) -> list[str]:
    by_pair: dict[tuple[str, str], list[PayFinding]] = {}
    for finding in pays:
        by_pair.setdefault((finding.label, finding.reference), []).append(finding)
    return [
        f"{label} against {reference}: {'; '.join(_pay_text(finding) for finding in findings)}."
        for (label, reference), findings in by_pair.items()
    ]


_LESS = {"MACs": "fewer MACs", "memory": "less memory (predicted)", "time": "less time"}
_AS_MUCH = {"MACs": "as many", "memory": "as much", "time": "as long"}


def _pay_text(finding: PayFinding) -> str:
    less = _LESS[finding.resource]
    at = (
        f"({format_ratio(finding.ratio)} {_AS_MUCH[finding.resource]} at "
        f"{format_count(finding.longest)})"
    )
    if finding.interval and finding.interval[0] <= 1 <= finding.interval[1]:
        low, high = (format_ratio(end) for end in finding.interval)
        return (
            f"no clear difference in time at {format_count(finding.longest)} tokens "
            f"(99 % interval {low} to {high} as long)"
        )
    if finding.crossing is None:
        return f"no {less} within these lengths {at}"
    before, first = finding.crossing
    if before == 0:
        where = "at all of these lengths"
    elif before + 1 == first:
        where = f"from {format_count(first)} tokens on"
    else:
        where = f"from between {format_count(before)} and {format_count(first)} tokens on"
    return f"{less} {where} {at}"


def _counter_lines(counters: tuple[CounterFinding, ...]) -> list[str]:
    """Backends that count alike share a line."""
    by_text: dict[tuple[str, str], list[str]] = {}
    for finding in counters:
        key = finding.label, _counter_text(finding)
        by_text.setdefault(key, []).append(finding.backend)
    return [
        f"{label}, {' and '.join(backends)} backend{'s' * (len(backends) > 1)}: {text}"
        for (label, text), backends in by_text.items()
    ]


def _counter_text(finding: CounterFinding) -> str:
    share = format_share(finding.counted_macs, finding.executed_macs)
    missing = finding.executed_macs - finding.counted_macs
    line = f"{share} of the MACs executed at {format_count(finding.seq_len)} tokens"
    if finding.is_training:
        return f"{line}, forward and backward: it counts the forward pass only."
    if missing > 0:
        line += f", {format_macs(missing)} short"
        if finding.unseen:
            line += f": it sees no MACs in {finding.unseen}"
    else:
        line += "; the surplus is bias and elementwise work, which is no MACs"
    if finding.shorter and abs(finding.counted_exponent - finding.executed_exponent) > 0.05:
        line += (
            f". From {format_count(finding.shorter)} to {format_count(finding.seq_len)} tokens "
            f"its count grows as n^{finding.counted_exponent:.2f}, the MACs as "
            f"n^{finding.executed_exponent:.2f}"
        )
    return f"{line}."


def describe_notes(table: ResultTable) -> list[str]:
    """What is to be said of single rows: why cells are empty, which times are noisy."""
    label_of = labels(table)
    by_text: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows:
        if row.details:
            status = "" if row.status == "ok" else f"{row.status}: "
            text = status + "; ".join(dict.fromkeys(row.details))
            by_text.setdefault((label_of(row), text), []).append(row)
    return [
        f"{label} at {', '.join(format_count(row.workload.seq_len) for row in rows)}: {text}"
        for (label, text), rows in by_text.items()
    ]
