"""What the growth chart shows of a table: points, what is missing, break-even lengths."""

from __future__ import annotations

import pytest
from chart_tables import KERNELS, case, chart_table, values, with_gaps, with_ratios, workload

import attnprof
from attnprof import ResultTable
from attnprof.core.records import CASE, Record
from attnprof.report.charts.curves import Curve, Growth, Panel, growth_of
from attnprof.report.kernel_styles import styles_of
from attnprof.report.run import Run

LENGTHS = (512, 1024, 4096)


def growth(table: ResultTable) -> Growth:
    return growth_of([Run("", table)])


def panel(shown: Growth, quantity: str) -> Panel:
    (found,) = [one for one in shown.panels if one.quantity.name == quantity]
    return found


def curve(shown: Growth, quantity: str, label: str) -> Curve:
    (found,) = [one for one in panel(shown, quantity).curves if one.label == label]
    return found


def test_points_are_the_values_of_the_table() -> None:
    shown = growth(chart_table(KERNELS[:3], LENGTHS))
    assert shown.axis == "seq_len"
    assert shown.values == LENGTHS
    for kernel in KERNELS[:3]:
        for quantity in ("executed_macs", "time_ns", "peak_bytes"):
            points = curve(shown, quantity, kernel).points
            assert [(p.x, p.value) for p in points] == [
                (n, values(kernel, n)[quantity]) for n in LENGTHS
            ]
            assert not any(point.is_predicted for point in points)
        for point in curve(shown, "time_ns", kernel).points:
            of_row = values(kernel, point.seq_len)
            assert (point.low, point.high) == (of_row["time_low_ns"], of_row["time_high_ns"])
        counted = curve(shown, "executed_macs", kernel).counted
        assert [p.value for p in counted] == [
            values(kernel, n)["ptflops_pytorch_macs"] for n in LENGTHS
        ]


def test_what_did_not_fit_is_missing_with_a_word_and_predictions_are_marked() -> None:
    shown = growth(with_gaps())
    eager = curve(shown, "time_ns", "bert-eager")
    assert eager.gaps == ((4096, "does not fit"),)
    assert [point.is_predicted for point in eager.points] == [False, False, True]
    assert eager.points[-1].value == 7 * 10**9
    memory = curve(shown, "peak_bytes", "bert-eager").points[-1]
    assert memory.is_predicted
    assert memory.value == values("bert-eager", 4096)["predicted_peak_bytes"]
    failed = curve(shown, "time_ns", "longformer-hf")
    assert failed.gaps == ((1024, "timed out"), (4096, "timed out"))
    assert curve(shown, "executed_macs", "longformer-hf").gaps == ()


def test_a_case_that_was_too_slow_to_start_does_not_count_as_too_large() -> None:
    table = chart_table(KERNELS[:1], LENGTHS)
    call = workload("longformer-hf", 512)
    table.add(Record("longformer-hf", call, "executed_macs", 5))
    table.add(Record("longformer-hf", call, CASE, None, "skipped", "one call is predicted to take"))
    assert curve(growth(table), "time_ns", "longformer-hf").gaps == ((512, "not run"),)


def test_wrong_and_unsupported_rows_are_left_out_with_the_reason() -> None:
    table = chart_table(KERNELS[:1], LENGTHS)
    for record in case("longformer-hf", 512, status="wrong", why="output is nan"):
        table.add(record)
    call = workload("longformer-masked", 512)
    table.add(Record("longformer-masked", call, CASE, None, "unsupported", "no dilation"))
    shown = growth(table)
    assert [one.label for one in panel(shown, "time_ns").curves] == ["bert-sdpa"]
    assert shown.left_out == ("longformer-hf: wrong output", "longformer-masked: not supported")


def test_crossovers_in_time_are_marked_where_the_ratio_is_1() -> None:
    shown = growth(with_ratios({512: 2.0, 2048: 0.5}))
    (crossing,) = panel(shown, "time_ns").crossings
    # log(ratio) is linear in log(length): 1 is halfway between 2 and 1/2.
    assert crossing.seq_len == pytest.approx(1024, rel=1e-6)
    low, high = (values("bert-sdpa", n)["time_ns"] for n in (512, 2048))
    assert crossing.value == pytest.approx((low * high) ** 0.5, rel=1e-6)
    assert crossing.text == "≈ 1,020"


def test_unclear_and_absent_crossovers_are_not_marked() -> None:
    for ratios in ({512: 2.0, 2048: 0.99}, {512: 0.5, 2048: 0.4}, {512: 2.0, 2048: 3.0}):
        assert panel(growth(with_ratios(ratios)), "time_ns").crossings == ()


def test_crossovers_in_macs_are_marked_at_the_first_length_with_fewer() -> None:
    table = attnprof.estimate(len=[512, 4096], kernel=["bert-sdpa", "longformer-banded"])
    (crossing,) = panel(growth(table), "executed_macs").crossings
    n = int(crossing.seq_len)
    assert crossing.text == f"{n:,}"

    def macs(seq_len: int) -> list[int | None]:
        rows = attnprof.estimate(len=seq_len, kernel=["bert-sdpa", "longformer-banded"]).rows
        return [row.integer("executed_macs") for row in rows]

    before, after = macs(n - 1), macs(n)
    assert before[1] >= before[0]  # type: ignore[operator]
    assert after[1] < after[0]  # type: ignore[operator]
    assert crossing.value == after[0]


def test_at_one_length_windows_are_the_axis_and_dense_attention_a_level() -> None:
    table = attnprof.estimate(
        len=1024, window=[64, 128, 256], kernel=["bert-sdpa", "longformer-hf"]
    )
    shown = growth(table)
    assert (shown.axis, shown.values) == ("window", (64, 128, 256))
    sparse = curve(shown, "executed_macs", "longformer-hf")
    assert [point.x for point in sparse.points] == [64, 128, 256]
    assert not sparse.is_level
    assert curve(shown, "executed_macs", "bert-sdpa").is_level


def test_at_one_length_dilations_are_the_axis_where_windows_are_equal() -> None:
    table = attnprof.estimate(len=1024, dilation=[1, 2], kernel="longformer-banded")
    assert (growth(table).axis, growth(table).values) == ("dilation", (1, 2))


def test_one_length_without_variants_is_drawn_as_bars() -> None:
    assert growth(chart_table(KERNELS, (512,))).is_bars


def test_a_kernel_has_its_own_colour_and_marker_in_every_picture() -> None:
    for kernels in (KERNELS[:2], KERNELS[1:6], ("longformer-banded",)):
        drawn = curve(growth(chart_table(kernels, LENGTHS)), "time_ns", "longformer-banded").style
        known = styles_of(["longformer-banded"])["longformer-banded"]
        assert (drawn.colour, drawn.marker, drawn.dash) == (known.colour, known.marker, known.dash)


def test_windows_of_a_kernel_share_its_marker_and_differ_in_lightness() -> None:
    table = attnprof.estimate(len=[512, 1024], window=[64, 256], kernel="longformer-hf")
    curves = panel(growth(table), "executed_macs").curves
    assert [one.label for one in curves] == ["longformer-hf w=64", "longformer-hf w=256"]
    assert len({one.style.marker for one in curves}) == 1
    assert len({one.style.colour for one in curves}) == 2


def test_runs_are_named_where_they_differ_and_merged_where_they_do_not() -> None:
    slower = ResultTable(
        Record(r.kernel, r.workload, r.quantity, 2 * r.value, r.status)
        if r.value and r.quantity == "time_ns"
        else r
        for r in chart_table(KERNELS[:1], LENGTHS).records
    )
    runs = [Run("one", chart_table(KERNELS[:1], LENGTHS)), Run("two", slower)]
    shown = growth_of(runs)
    timed = panel(shown, "time_ns").curves
    assert [one.label for one in timed] == ["bert-sdpa, one", "bert-sdpa, two"]
    assert timed[0].style.dash != timed[1].style.dash
    assert timed[0].style.colour == timed[1].style.colour
    assert [one.label for one in panel(shown, "executed_macs").curves] == ["bert-sdpa"]
