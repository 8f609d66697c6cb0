"""Findings in plain words, one sentence a line."""

from __future__ import annotations

from attnprof import kernels
from attnprof.analysis.crossover import MeasuredCrossover, Side
from attnprof.analysis.findings import Findings
from attnprof.analysis.findings.counters import CounterFinding
from attnprof.analysis.findings.crossovers import CrossoverFinding, Resource
from attnprof.analysis.findings.growth import GrowthFinding
from attnprof.analysis.findings.max_length import MaxLengthFinding
from attnprof.analysis.findings.speed import LengthVerdict, VerdictFinding
from attnprof.analysis.series import labels
from attnprof.core.growth.laws import DoublingLaw
from attnprof.core.notation import (
    format_dilation,
    format_global_tokens,
    format_window,
    shorten_positions,
)
from attnprof.core.result_table import ResultTable, Row, describe_extent
from attnprof.core.units import (
    format_about,
    format_bytes,
    format_count,
    format_long_duration,
    format_macs,
    format_ratio,
    format_share,
)
from attnprof.core.verdict import MOST_ROUNDS, RESOLUTION
from attnprof.core.workload import Workload

_SIDES: dict[Side, dict[Resource, str]] = {
    "less": {"MACs": "fewer MACs", "memory": "less memory (predicted)", "time": "less time"},
    "equal": {
        "MACs": "as many MACs",
        "memory": "as much memory (predicted)",
        "time": "as much time",
    },
    "more": {"MACs": "more MACs", "memory": "more memory (predicted)", "time": "more time"},
}

_OTHERWISE: dict[Side, dict[Resource, str]] = {
    "less": {"MACs": "as many or more", "memory": "as much or more"},
    "more": {"MACs": "as many or fewer", "memory": "as much or less"},
}

_AS_MUCH: dict[Resource, str] = {"MACs": "as many", "memory": "as much", "time": "as long"}


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
    built_in = [row.workload for row in rows if not kernels.is_custom(row.kernel)]
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
        *_verdict_sections(findings.verdicts),
        ("From which length it pays", _crossover_lines(findings.crossovers)),
        ("What fits in memory here", _fit_lines(findings.max_lengths)),
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
    growth, law = finding.growth, finding.law
    steps = f", in steps of {format_count(finding.step)} tokens (padding)" * (finding.step > 1)
    if growth is None:
        return f"{_law_text(law, steps)}; no exact polynomial." if law else f"unknown{steps}."
    at = f", told at multiples of {format_count(finding.multiple)} tokens" * (finding.multiple > 1)
    if growth.law == "constant" and not law:
        return "constant: the same at every length."
    text = f"as {growth.law}{steps}{at}"
    shares = growth.shares(finding.longest)
    if len(shares) > 1:
        terms = _listed(
            [
                f"{format_share(float(share), 1)} {name}".replace("-", "−")
                for name, share in shares.items()
            ]
        )
        text += f": {terms} at {format_count(finding.longest)} tokens"
    overtakes = growth.quadratic_overtakes_at
    if overtakes:
        text += f"; n² overtakes n from {format_count(overtakes)} on"
    elif growth.law == "n":
        text += "; no n² term"
    if law:
        text += f". That holds to {format_count(finding.solved_to)} tokens, not at long lengths: "
        text += f"there {_law_text(law, '')}"
    return f"{text}."


def _law_text(law: DoublingLaw, steps: str) -> str:
    if law.name or law.is_settled:
        name = law.name or f"n^{law.exponent:.2f}"
        return f"as {name}{steps}, told by doublings up to {format_count(law.longer)} tokens"
    ends = f"from {format_count(law.shorter)} to {format_count(law.longer)} tokens"
    return f"as n^{law.exponent:.2f}{steps}, {ends}"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _verdict_sections(verdicts: tuple[VerdictFinding, ...]) -> list[tuple[str, list[str]]]:
    by_reference: dict[str, list[str]] = {}
    for finding in verdicts:
        told = [_verdict_text(one) for one in finding.lengths]
        for reason, lengths in finding.withheld.items():
            told.append(f"at {_listed([format_count(one) for one in lengths])} {reason}")
        by_reference.setdefault(finding.reference, []).append(
            f"{finding.label}: {', '.join(told)}."
        )
    return [(f"Faster or slower than {name}", lines) for name, lines in by_reference.items()]


def _verdict_text(told: LengthVerdict) -> str:
    verdict = told.verdict
    low, high = (format_ratio(end, "") for end in (verdict.speed.low, verdict.speed.high))
    advice = _advice(told)
    return (
        f"{verdict.outcome} at {format_count(told.seq_len)} "
        f"({format_ratio(verdict.speed.median)}, {low} to {high}{': ' * bool(advice)}{advice})"
    )


def _advice(told: LengthVerdict) -> str:
    """What would decide what is undecided."""
    verdict, needed = told.verdict, told.verdict.rounds_needed
    if verdict.is_too_close:
        least = format_share(RESOLUTION, 1, digits=0)
        return f"too close: {'less than' if verdict.is_alike else 'hardly more than'} {least} apart"
    if needed is None:
        return ""
    if needed > MOST_ROUNDS:
        most = format_count(MOST_ROUNDS)
        return f"more than {most} rounds would decide, so quieten the machine"
    advice = f"about {format_about(needed, needed / 2)} rounds would decide"
    return f"{advice}, --max-seconds {told.seconds_needed}" if told.seconds_needed else advice


def _crossover_lines(pays: tuple[CrossoverFinding, ...]) -> list[str]:
    by_pair: dict[tuple[str, str], list[CrossoverFinding]] = {}
    for finding in pays:
        by_pair.setdefault((finding.label, finding.reference), []).append(finding)
    return [
        f"{label} against {reference}: {'; '.join(map(_crossover_text, findings))}."
        for (label, reference), findings in by_pair.items()
    ]


def _crossover_text(finding: CrossoverFinding) -> str:
    longest = format_count(finding.longest)
    as_much = f"{format_ratio(finding.ratio)} {_AS_MUCH[finding.resource]} at {longest}"
    if finding.interval and finding.interval[0] <= 1 <= finding.interval[1]:
        low, high = (format_ratio(end) for end in finding.interval)
        return (
            f"no clear difference in time at {longest} tokens "
            f"(99 % interval {low} to {high} as long)"
        )
    side, before, first = finding.crossover.side, finding.crossover.before, finding.crossover.first
    costs = _SIDES[side][finding.resource]
    if before == 0 and side == "more":
        return f"no {_SIDES['less'][finding.resource]} within these lengths ({as_much})"
    if before and side == "equal":
        return f"{costs} at {longest} tokens"
    if before == 0:
        return f"{costs} at all of these lengths" + f" ({as_much})" * (side != "equal")
    if finding.measured and finding.measured.length:
        where, how = _measured_text(finding.measured, finding.measured.length)
        return f"{costs} from {where} tokens on ({how}; {as_much})"
    where = format_count(first)
    if before + 1 != first:
        where = f"between {format_count(before)} and {where}"
    if finding.until:
        return f"{costs} from {where} to {format_count(finding.until)} tokens ({as_much})"
    if first > finding.longest:
        ends = f"{format_count(finding.longest + 1)} to {format_count(before)}"
        as_much += f", but {_OTHERWISE[side][finding.resource]} at some lengths from {ends}"
    return f"{costs} from {where} tokens on ({as_much})"


def _measured_text(measured: MeasuredCrossover, length: float) -> tuple[str, str]:
    """The length, and its interval with the measured lengths that it was solved between."""
    before, first = measured.crossing.before, measured.crossing.first
    low = before if measured.low is None else measured.low
    high = first if measured.high is None else measured.high
    about, shortest, longest = (format_about(end, high - low) for end in (length, low, high))
    ends = f"the measured {format_count(before)} and {format_count(first)}"
    if measured.low is None and measured.high is None:
        interval = f"99 % interval wider than {ends}"
    elif measured.low is None:
        interval = f"99 % interval up to {longest}, open below, between {ends}"
    elif measured.high is None:
        interval = f"99 % interval from {shortest}, open above, between {ends}"
    else:
        interval = f"99 % interval {shortest} to {longest}, between {ends}"
    return f"about {about}", interval


def _fit_lines(fits: tuple[MaxLengthFinding, ...]) -> list[str]:
    return [f"{finding.label}: {_fit_text(finding)}." for finding in fits]


def _fit_text(finding: MaxLengthFinding) -> str:
    available = format_bytes(finding.available_bytes)
    if finding.longest == 0:
        return f"nothing fits in {available}"
    text = f"up to {format_count(finding.longest)} tokens in {available}"
    if finding.time is None:
        return text
    time, low, high = (
        format_long_duration(end)
        for end in (finding.time.time_ns, finding.time.low_ns, finding.time.high_ns)
    )
    return f"{text}, ≈ {time} predicted ({low} to {high})"


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
            told = row.details if row.status == "ok" else [*row.details, row.prediction]
            text = status + "; ".join(dict.fromkeys(part for part in told if part))
            by_text.setdefault((label_of(row), text), []).append(row)
    return [
        f"{label} at {', '.join(format_count(row.workload.seq_len) for row in rows)}: {text}"
        for (label, text), rows in by_text.items()
    ]
