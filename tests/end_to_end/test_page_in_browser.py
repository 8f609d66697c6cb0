"""The page of results in a real browser: what a reader sees, clicks, hears and prints."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from browser import Browser, start_browser
from measured_tables import timed_table
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from attnprof import ResultTable
from attnprof.report.page import render_page
from attnprof.report.run import Run

LEAST_CONTRAST = 4.5
"""AA of WCAG 2.2 for text, § 1.4.3; 3 for large text."""


def runs() -> list[Run]:
    return [Run("", timed_table())]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = start_browser()
    yield browser
    browser.driver.quit()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "costs.html"
    path.write_text(render_page(runs()), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, page_file: Path) -> Browser:
    browser.emulate("light")
    browser.resize(1400)
    browser.open(page_file)
    return browser


def test_page_loads_without_a_complaint_or_a_request(browser: Browser, page_file: Path) -> None:
    browser.complaints()
    browser.requests()
    browser.open(page_file)
    assert browser.complaints() == []
    elsewhere = [
        url for url in browser.requests() if not url.startswith(("data:", page_file.as_uri()))
    ]
    assert elsewhere == []


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_window(page: Browser, width: int) -> None:
    page.resize(width)
    for kind in ("growth", "breakdown"):
        page.driver.find_element(By.CSS_SELECTOR, f"[data-shows='{kind}']").click()
        assert page.run("return document.documentElement.scrollWidth") <= width
        assert page.overflowing() == []


def test_long_names_of_kernels_are_not_wider_than_the_window(
    browser: Browser, tmp_path: Path
) -> None:
    (run,) = runs()
    saved, page_file = tmp_path / "long.json", tmp_path / "long.html"
    run.table.save(saved)
    name = "a_package.of_somebody.modeling_attention_in_full:VeryLongAttentionName"
    saved.write_text(saved.read_text("utf-8").replace("longformer-hf", name), "utf-8")
    page_file.write_text(render_page([Run("", ResultTable.load(saved))]), "utf-8")
    browser.resize(400)
    browser.open(page_file)
    wide = (
        "return [...document.querySelectorAll('p, li')].filter((e) => e.scrollWidth > 400).length"
    )
    assert browser.run(wide) == 0
    assert browser.overflowing() == []


@pytest.mark.parametrize("width", [400, 1400])
def test_charts_are_side_by_side_only_where_there_is_room(page: Browser, width: int) -> None:
    page.resize(width)
    tops = page.run(
        "return [...document.querySelectorAll('#chart-growth .panel')]"
        ".map((panel) => panel.getBoundingClientRect().top)"
    )
    assert len(tops) > 1
    assert (len(set(tops)) < len(tops)) == (width > 1000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(page: Browser, scheme: Literal["light", "dark"]) -> None:
    page.emulate(scheme)
    texts = page.texts()
    assert len(texts) > 3
    poor = [
        (text["text"], text["colour"], text["behind"])
        for text in texts
        if contrast(text["colour"], text["behind"]) < (3 if text["isLarge"] else LEAST_CONTRAST)
    ]
    assert poor == []
    is_dark = luminance(page.run("return getComputedStyle(document.body).backgroundColor")) < 0.2
    assert is_dark == (scheme == "dark")


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, as WCAG 2.2 defines it."""
    channels = [float(number) / 255 for number in re.findall(r"[\d.]+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_reader_can_choose_the_other_colours(page: Browser) -> None:
    button = page.driver.find_element(By.ID, "theme")
    background = "return getComputedStyle(document.body).backgroundColor"
    before = luminance(page.run(background))
    button.click()
    assert luminance(page.run(background)) < 0.2 < before
    button.click()
    assert luminance(page.run(background)) == before


def column(page: Browser, heading: str) -> list[str]:
    headings = page.driver.find_elements(By.CSS_SELECTOR, "#rows thead th")
    index = [element.text.strip() for element in headings].index(heading)
    return page.run(
        "return [...document.querySelectorAll('#rows tbody tr')].filter((row) => !row.hidden)"
        ".map((row) => row.cells[arguments[0]].textContent.trim())",
        index,
    )


def test_rows_are_sorted_by_values_not_by_their_text(page: Browser) -> None:
    expected = sorted(row.values["executed_macs"] for run in runs() for row in run.table.rows)
    button = page.driver.find_element(By.XPATH, "//button[normalize-space()='executed MACs']")
    shown: list[list[str]] = []
    for order in ("ascending", "descending"):
        button.send_keys(Keys.ENTER)
        heading = button.find_element(By.XPATH, "..")
        assert heading.get_attribute("aria-sort") == order
        shown.append(column(page, "executed MACs"))
    assert shown[0] == shown[1][::-1]
    numbers = [in_units(text) for text in shown[0]]
    assert numbers == pytest.approx(expected, rel=1e-3)
    assert len(page.driver.find_elements(By.CSS_SELECTOR, "[aria-sort]")) == 1


def in_units(text: str) -> float:
    """`1.309 G` as a number."""
    number, _, prefix = text.partition(" ")
    return float(number) * {"": 1, "M": 1e6, "G": 1e9}[prefix]


def test_rows_without_a_value_are_last_in_both_orders(page: Browser) -> None:
    button = page.driver.find_element(By.XPATH, "//button[normalize-space()='ptflops counts']")
    for _ in range(2):
        button.click()
        assert set(column(page, "ptflops counts")[3:]) == {"–"}


def test_rows_are_filtered_by_kernel(page: Browser) -> None:
    page.driver.find_element(By.ID, "filter").send_keys("LONG")
    assert set(column(page, "kernel")) == {"longformer-hf"}
    assert page.driver.find_element(By.ID, "count").text == "3 of 9 rows"


def test_point_under_the_pointer_shows_its_value(page: Browser) -> None:
    point = page.driver.find_element(
        By.CSS_SELECTOR,
        "[data-kernel='bert-sdpa'][data-quantity='time_ns'][data-seq-len='4096']",
    )
    page.run("arguments[0].scrollIntoView({ block: 'center' })", point)
    ActionChains(page.driver).move_to_element(point).perform()
    tooltip = page.driver.find_element(By.ID, "tooltip")
    assert tooltip.is_displayed()
    assert tooltip.get_attribute("role") == "tooltip"
    for text in ("bert-sdpa", "422 ms", "4,096"):
        assert text in tooltip.text


def test_points_are_reached_with_the_keyboard(page: Browser) -> None:
    panel = page.driver.find_element(By.CSS_SELECTOR, "#chart-growth .panel svg")
    stops = panel.find_elements(By.CSS_SELECTOR, "[tabindex='0']")
    assert len(stops) == 1
    page.run("arguments[0].focus()", stops[0])
    first = page.driver.switch_to.active_element
    first.send_keys(Keys.ARROW_RIGHT)
    second = page.driver.switch_to.active_element
    for point, seq_len in ((first, "512"), (second, "1024")):
        assert point.get_attribute("data-seq-len") == seq_len
    assert first.get_attribute("data-kernel") == second.get_attribute("data-kernel")
    tooltip = page.driver.find_element(By.ID, "tooltip")
    assert tooltip.text == second.get_attribute("aria-label")
    second.send_keys(Keys.ESCAPE)
    assert not tooltip.is_displayed()


def test_one_kind_of_chart_is_shown_at_a_time(page: Browser) -> None:
    growth, breakdown = (
        page.driver.find_element(By.ID, f"chart-{name}") for name in ("growth", "breakdown")
    )
    assert growth.is_displayed()
    assert not breakdown.is_displayed()
    button = page.driver.find_element(By.CSS_SELECTOR, "[data-shows='breakdown']")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert breakdown.is_displayed()
    assert not growth.is_displayed()


def test_first_stop_of_the_keyboard_leads_to_the_answer(page: Browser) -> None:
    page.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    link = page.driver.switch_to.active_element
    assert link.get_attribute("href").endswith("#answer")
    assert link.is_displayed()
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"
    link.send_keys(Keys.ENTER)
    assert page.driver.switch_to.active_element.get_attribute("id") == "answer"


def test_command_is_copied_or_selected(page: Browser) -> None:
    button = page.driver.find_element(By.CSS_SELECTOR, ".copy")
    button.click()
    # Whether pages from files may write to the clipboard is up to the browser.
    WebDriverWait(page.driver, 10).until(lambda _: button.text in {"Copied", "Selected"})
    if button.text == "Selected":
        (run,) = runs()
        assert page.run("return getSelection().toString()") == run.table.command


def test_data_in_the_page_can_be_saved(page: Browser) -> None:
    names = page.run(
        "return [...document.querySelectorAll('.download')].map((link) => link.download)"
    )
    contents = page.driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "const links = [...document.querySelectorAll('.download')];"
        "const texts = content.downloads.map(({ text }) => text);"
        "done([links.map((link) => link.protocol), texts]);"
    )
    (run,) = runs()
    assert names == ["results.csv", "results.json"]
    assert contents[0] == ["blob:", "blob:"]
    assert contents[1][0] == run.table.to_csv()
    assert json.loads(contents[1][1]) == json.loads(run.table.to_json())


def test_print_has_both_charts_and_no_controls(page: Browser) -> None:
    page.driver.find_element(By.ID, "theme").click()
    page.emulate("dark", "print")
    for name in ("growth", "breakdown"):
        assert page.driver.find_element(By.ID, f"chart-{name}").is_displayed()
    for control in page.driver.find_elements(By.CSS_SELECTOR, ".control, nav, .skip"):
        assert not control.is_displayed()
    assert page.run("return getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    assert (
        contrast(page.run("return getComputedStyle(document.body).color"), "rgb(255,255,255)") > 15
    )
    assert base64.b64decode(page.driver.print_page())[:5] == b"%PDF-"
