"""The data of the roofline chart: roofs, points, what is left out, what cannot be."""

from __future__ import annotations

from chart_tables import KERNELS, case, chart_table, values, workload

from attnprof import ResultTable
from attnprof.core.records import COPY_RATE, MATMUL_RATE, WITHHELD, Record
from attnprof.report.charts import panel_svgs
from attnprof.report.charts.roofline import roofline_of
from attnprof.report.page import render_page
from attnprof.report.run import Run


def test_a_point_is_intensity_and_flops_per_second() -> None:
    roofline = roofline_of([Run("", chart_table(KERNELS[:2], (512, 1024)))])
    (roof,) = roofline.roofs
    assert (roof.flops_per_s, roof.bytes_per_s, roof.balance) == (8_000_000, 2_000_000, 4)
    assert (roof.attainable(1), roof.attainable(100)) == (2_000_000, 8_000_000)
    assert [curve.label for curve in roofline.curves] == [*KERNELS[:2]]
    point = roofline.curves[0].points[0]
    costs = values(KERNELS[0], 512)
    assert point.intensity == costs["intensity"]
    assert point.flops_per_s == 2 * costs["executed_macs"] / costs["time_ns"] * 1e9
    assert point.part == point.flops_per_s / roof.flops_per_s
    assert roofline.notes == ()


def test_roofs_are_the_highest_rates_of_each_run() -> None:
    table = chart_table(KERNELS[:2], (512, 1024))
    table.add(Record(KERNELS[0], workload(KERNELS[0], 512), MATMUL_RATE, 9_000_000))
    other = chart_table(KERNELS[:1], (512,))
    roofs = roofline_of([Run("a", table), Run("b", other)]).roofs
    assert [(roof.name, roof.flops_per_s) for roof in roofs] == [("a", 18e6), ("b", 8e6)]
    same = roofline_of([Run("a", other), Run("b", other)]).roofs
    assert [roof.name for roof in same] == [""]


def test_disturbed_times_are_left_out_and_named() -> None:
    table = chart_table(KERNELS[:2], (512, 1024))
    call = workload(KERNELS[1], 512)
    table.add(Record(KERNELS[1], call, WITHHELD, 1, detail="not measurable now"))
    roofline = roofline_of([Run("", table)])
    assert [len(curve.points) for curve in roofline.curves] == [2, 1]
    assert roofline.notes == (f"not shown: times that other work disturbed, of {KERNELS[1]}",)


def test_points_above_the_matmul_rate_are_said_to_be_wrong() -> None:
    table = chart_table(KERNELS[:1], (512,))
    table.add(Record(KERNELS[0], workload(KERNELS[0], 512), MATMUL_RATE, 2_000_000))
    (note,) = roofline_of([Run("", table)]).notes
    assert note.startswith("above the matmul rate, ")
    assert f"{KERNELS[0]} at 512 tokens" in note


def test_without_rates_there_is_no_panel() -> None:
    table = ResultTable(
        record
        for record in case(KERNELS[0], 512)
        if record.quantity not in (MATMUL_RATE, COPY_RATE)
    )
    roofline = roofline_of([Run("", table)])
    assert (roofline.roofs, roofline.curves) == ((), ())
    assert panel_svgs([Run("", table)], "roofline") == []


def test_a_page_has_the_roofline_beside_the_other_charts() -> None:
    text = render_page([Run("", chart_table(KERNELS[:2], (512, 1024)))])
    assert ">Roofline</" in text
    assert text.count('data-quantity="flops_per_s"') == 4
    assert (
        f"{KERNELS[0]} at 512 tokens: 6.000 MFLOP/s at 256 FLOP/B, 75 % of the matmul rate" in text
    )
