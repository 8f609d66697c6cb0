"""The page of results: what it contains, that it is safe, that it asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from itertools import pairwise

import pytest
from measured_tables import measured, timed_table
from page_reader import Element, read_page

import attnprof
from attnprof import ResultTable
from attnprof.core.records import CASE, Record
from attnprof.report.overview import overview_of
from attnprof.report.page import render_page
from attnprof.report.run import Run

HOSTILE = "</script><img src=x onerror='1'>&\"\u2028"

MOST_BYTES = 400_000


def page_of(*runs: Run) -> Element:
    return read_page(render_page(runs))


@pytest.fixture(scope="module")
def page() -> Element:
    return page_of(Run("", timed_table()))


def test_page_asks_for_nothing(page: Element) -> None:
    for element in page.walk():
        for name in ("src", "srcset", "href", "xlink:href", "action", "poster", "data"):
            address = element.attributes.get(name, "#")
            assert address.startswith("#") or address == "data:,", (element.tag, address)
    styles = [element.text for element in page.all("style")]
    styles += [element.attributes.get("style", "") for element in page.walk()]
    for style in styles:
        assert "@import" not in style
        assert not re.search(r"url\((?!['\"]?#)", style)


def test_policy_allows_only_the_script_of_the_page(page: Element) -> None:
    (policy,) = (
        element.attributes["content"]
        for element in page.all("meta")
        if element.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    (script,) = (element for element in page.all("script") if "type" not in element.attributes)
    (code,) = script.children
    digest = base64.b64encode(hashlib.sha256(str(code).encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    handlers = [name for element in page.walk() for name in element.attributes if name[:2] == "on"]
    assert not handlers


def test_headings_have_one_top_and_skip_no_level(page: Element) -> None:
    levels = [int(element.tag[1]) for element in page.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_reference_inside_the_page_has_a_target(page: Element) -> None:
    ids = [element.attributes["id"] for element in page.walk() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    wanted = [
        name
        for element in page.walk()
        for attribute in ("href", "xlink:href", "aria-labelledby", "aria-describedby")
        for name in re.findall(r"^#(.*)|(.+)", element.attributes.get(attribute, ""))
    ]
    names = {link or label for link, label in wanted} - {"data:,"}
    assert names <= set(ids)


def test_tables_have_captions_and_scroll_in_a_named_region(page: Element) -> None:
    regions = [element for element in page.walk() if element.attributes.get("role") == "region"]
    for region in regions:
        assert region.attributes["aria-label"]
        assert region.attributes["tabindex"] == "0"
    tables = [table for region in regions for table in region.all("table")]
    assert len(page.all("table")) == len(tables) > 3
    for table in tables:
        assert len(table.all("caption")) == 1
        for row in table.all("tr"):
            assert len(row.all("td", "th")) == len(table.all("tr")[0].all("th"))


def test_answer_comes_first() -> None:
    table = timed_table()
    page = page_of(Run("", table))
    overview = overview_of(table)
    (main,) = page.all("main")
    assert overview.heading in page.all("h1")[0].text
    answer = main.all("section")[0]
    for sentence in overview.verdict:
        assert sentence in answer.text


def test_results_are_sorted_by_raw_values(page: Element) -> None:
    rows = page.by_id("rows").all("tr")
    headings = [heading.text for heading in rows[0].all("th")]
    (row,) = (
        row.all("th", "td")
        for row in rows[1:]
        if row.all("th")[0].text == "bert-sdpa" and row.all("td")[0].text == "4,096"
    )
    values = {
        heading: cell.attributes.get("data-sort")
        for heading, cell in zip(headings, row, strict=True)
    }
    assert values["tokens"] == "4096"
    assert values["executed MACs"] == "33017561088"
    assert values["ptflops counts"] == "7257194496"
    assert values["time"] == "422000000"
    assert len(headings) == len(set(headings))


def test_every_row_of_the_table_is_in_the_page(page: Element) -> None:
    assert len(page.by_id("rows").all("tr")) == 1 + len(timed_table().rows)


def test_downloads_are_the_files_of_csv_and_json() -> None:
    table = timed_table()
    table.add(Record("bert-sdpa", table.rows[0].workload.densified(), CASE, None, "ok", HOSTILE))
    content = json.loads(str(page_of(Run("", table)).by_id("content").children[0]))
    csv, saved = (download["text"] for download in content["downloads"])
    assert csv == table.to_csv()
    assert saved == table.to_json()


def test_text_of_users_is_never_markup() -> None:
    page = with_text(HOSTILE)
    assert page.all("img") == []
    assert len(page.all("script")) == 2  # the data and the page's own
    shown = " ".join(HOSTILE.split())
    for section in ("answer", "charts", "results", "notes", "machine"):
        assert shown in page.by_id(section).text, section


def with_text(text: str) -> Element:
    """A page of two runs with a text wherever a user can write one."""
    table = timed_table()
    workload = table.rows[0].workload
    table.add(Record(text, workload, CASE, None, "unsupported", text))
    table.environment = {"processor": text, "packages": {text: text}}
    table.command = f"attnprof compare --kernel {text}"
    return page_of(Run(f"one {text}", table), Run("two", timed_table()))


def test_rows_that_did_not_run_have_their_reason() -> None:
    table = measured()
    workload = table.rows[-1].workload
    table.add(Record("longformer-hf", workload, CASE, None, "skipped", "needs 9 GiB of 2 GiB"))
    notes = page_of(Run("", table)).by_id("notes")
    assert "skipped" in notes.text
    assert "needs 9 GiB of 2 GiB" in notes.text


def test_counters_show_the_share_that_they_count(page: Element) -> None:
    (row,) = (
        row for row in page.by_id("counters").all("tr") if row.all("th")[0].text == "bert-sdpa"
    )
    # 3 projections of 4,096 x 768², as FACTS has them, with their biases, of 33.02 G.
    assert "7.257 G" in row.text
    assert "22.0 %" in row.text


def test_formulas_add_up_to_the_executed_macs(page: Element) -> None:
    tables = [
        table
        for table in page.by_id("growth").all("table")
        if table.all("caption")[0].text.startswith("bert-eager")
    ]
    assert "33,017,561,088" in tables[0].all("tfoot")[0].text
    assert "n tokens" in page.by_id("growth").text


def test_several_runs_are_named() -> None:
    page = page_of(Run("laptop", timed_table()), Run("server", timed_table()))
    names = [heading.text for heading in page.by_id("answer").all("h3")]
    assert names == ["laptop", "server"]
    assert "run" in [heading.text for heading in page.by_id("rows").all("tr")[0].all("th")]
    assert len(page.by_id("rows").all("tr")) == 1 + 2 * len(timed_table().rows)


def test_several_runs_are_compared_side_by_side() -> None:
    faster = timed_table()
    for row in list(faster.rows):
        time_ns = row.integer("time_ns")
        faster.add(Record(row.kernel, row.workload, "time_ns", (time_ns or 0) // 2))
    page = page_of(Run("laptop", timed_table()), Run("server", faster))
    (times,) = (
        table
        for table in page.by_id("comparison").all("table")
        if table.all("caption")[0].text == "time"
    )
    assert [heading.text for heading in times.all("thead")[0].all("th")] == [
        "kernel",
        "tokens",
        "laptop",
        "server",
    ]
    (row,) = (
        row
        for row in times.all("tr")
        if row.text.startswith("bert-sdpa") and row.all("td")[0].text == "4,096"
    )
    assert row.all("td")[1].text == "422 ms"
    assert row.all("td")[2].text.startswith("211 ms")


def test_estimates_have_a_page_without_a_machine() -> None:
    page = page_of(Run("", attnprof.estimate(len=["512", "1M"], kernel="bert-sdpa")))
    assert "Nothing was measured" in page.by_id("machine").text
    assert "1,048,576" in page.by_id("rows").text


def test_a_run_without_a_row_has_a_page() -> None:
    assert "no case was finished" in page_of(Run("", ResultTable())).text


def test_page_is_small(page: Element) -> None:
    assert len(render_page([Run("", timed_table())]).encode()) < MOST_BYTES
