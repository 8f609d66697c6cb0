"""Pictures and SVG panels: what they contain, and that it is the same each time."""

from __future__ import annotations

import re
import struct
import warnings
from xml.etree import ElementTree

import matplotlib
import pytest
from chart_tables import KERNELS, chart_table, values, with_gaps, with_ratios

import attnprof
from attnprof import ResultTable
from attnprof.report.charts import PanelSvg, panel_svgs, render_chart
from attnprof.report.image_forms import CHARTS, Chart, ImageForm
from attnprof.report.run import Run

LENGTHS = (512, 1024, 4096)


def panels(*lengths: int, chart: Chart = "growth") -> list[PanelSvg]:
    return panel_svgs([Run("", chart_table(KERNELS[:4], lengths or LENGTHS))], chart)


def points(panel: PanelSvg) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(panel.svg)
    return [element for element in root.iter() if element.get("class") == "point"]


@pytest.mark.parametrize("lengths", [LENGTHS, (512,)])
def test_points_carry_the_values_of_the_table(lengths: tuple[int, ...]) -> None:
    shown = panels(*lengths)
    assert [panel.quantity for panel in shown] == ["time_ns", "executed_macs", "peak_bytes"]
    for panel in shown:
        found = {
            (p.get("data-kernel"), p.get("data-quantity"), int(p.get("data-seq-len", 0))): int(
                p.get("data-value", 0)
            )
            for p in points(panel)
        }
        quantities = {panel.quantity, *{"ptflops_pytorch_macs"} & {key[1] for key in found}}
        assert found == {
            (kernel, quantity, n): values(kernel, n)[quantity]
            for kernel in KERNELS[:4]
            for quantity in quantities
            for n in lengths
        }
        titles = [
            element.findtext("{http://www.w3.org/2000/svg}title") for element in points(panel)
        ]
        assert all(title and " tokens: " in title for title in titles)


@pytest.mark.parametrize("lengths", [LENGTHS, (512,)])
def test_parts_carry_macs_that_add_up(lengths: tuple[int, ...]) -> None:
    sums: dict[tuple[str | None, str | None], int] = {}
    for panel in panels(*lengths, chart="breakdown"):
        for point in points(panel):
            key = (point.get("data-kernel"), point.get("data-seq-len"))
            sums[key] = sums.get(key, 0) + int(point.get("data-value", 0))
    assert len(sums) == 4 * len(lengths)
    n, width = 512, 64
    assert sums["bert-sdpa", "512"] == 3 * n * width**2 + 2 * n * n * width


@pytest.mark.parametrize("chart", CHARTS)
def test_identifiers_are_unique_over_all_panels_and_references_are_kept(chart: Chart) -> None:
    text = "".join(panel.svg for panel in panels(chart=chart))
    names = re.findall(r'\bid="([^"]*)"', text)
    assert len(names) == len(set(names)) > 0
    references = {*re.findall(r'href="#([^"]*)"', text), *re.findall(r"url\(#([^)]*)\)", text)}
    assert references <= set(names)


@pytest.mark.parametrize("chart", CHARTS)
def test_an_svg_has_no_size_no_black_and_a_title_and_asks_nobody(chart: Chart) -> None:
    for panel in panels(chart=chart):
        root = ElementTree.fromstring(panel.svg)
        assert root.get("viewBox")
        assert root.get("width") is root.get("height") is None
        assert root.get("role") == "img"
        assert root[0].tag.endswith("title")
        assert root[0].text
        assert "currentColor" in panel.svg
        assert not re.search(r"#0{6}\b|#1a1a1a|<style|<script", panel.svg)
        addresses = set(re.findall(r'https?://[^"\s]*', panel.svg))
        assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_kernel_names_in_an_svg_are_text() -> None:
    for panel in panels():
        assert {*KERNELS[:4]} <= set(ElementTree.fromstring(panel.svg).itertext())


@pytest.mark.parametrize(("form", "chart"), zip(("png", "svg", "pdf"), CHARTS, strict=True))
def test_pictures_are_the_same_each_time(form: ImageForm, chart: Chart) -> None:
    runs = [Run("", with_gaps())]
    picture = render_chart(runs, form, chart)
    assert picture == render_chart(runs, form, chart)
    assert picture.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[form])


def test_a_picture_is_twice_as_wide_as_high_and_ignores_the_users_settings() -> None:
    runs = [Run("", with_ratios({512: 1.5, 1024: 1.1, 4096: 0.5}))]
    picture = render_chart(runs, "png")
    width, height = struct.unpack(">II", picture[16:24])
    assert width == 2 * height
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "figure.dpi": 50}):
        assert render_chart(runs, "png") == picture
        assert matplotlib.rcParams["font.size"] == 30


@pytest.mark.parametrize(
    ("lengths", "chart"),
    [
        *(((512, 10**15), chart) for chart in CHARTS),
        ((10**15,), "growth"),
        ((10**9, 10**10), "breakdown"),
    ],
)
def test_costs_beyond_64_bits_are_drawn(lengths: tuple[int, ...], chart: Chart) -> None:
    table = attnprof.estimate(len=list(lengths), kernel=["bert-sdpa", "longformer-hf"])
    assert render_chart([Run("", table)], "svg", chart)
    shown = {
        element.get("data-value") for p in panel_svgs([Run("", table)]) for element in points(p)
    }
    assert str(table.rows[-1].values["executed_macs"]) in shown


def test_a_kernel_with_a_single_length_fills_its_panel_of_the_breakdown() -> None:
    table = attnprof.estimate(len=[512, 1024], kernel=["bert-sdpa", "longformer-hf"])
    dropped = table.rows[-1]
    records = [
        record
        for record in table.records
        if (record.kernel, record.workload) != (dropped.kernel, dropped.workload)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert render_chart([Run("", ResultTable(records))], "svg", "breakdown")
