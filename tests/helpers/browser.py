"""A headless Chromium that opens one page and records what it complains about and asks for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# Every text on the page with its colours: SVG text is filled, other text is coloured; the
# background is that of the nearest ancestor that has one.
_TEXTS = """
const found = new Map();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  const text = walker.currentNode.textContent.trim();
  if (!text || element.closest("script, style, title, .unseen") || !element.checkVisibility()) {
    continue;
  }
  const style = getComputedStyle(element);
  let behind = element;
  const colourOf = (node) => getComputedStyle(node).backgroundColor;
  while (behind.parentElement && /, 0\\)$|^transparent$/.test(colourOf(behind))) {
    behind = behind.parentElement;
  }
  const colour = element instanceof SVGElement ? style.fill : style.color;
  const size = parseFloat(style.fontSize);
  const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const key = [colour, colourOf(behind), isLarge].join();
  found.set(key, { text, colour, behind: colourOf(behind), isLarge });
}
return [...found.values()];
"""

# Elements that reach beyond the window, except inside containers that scroll.
_OVERFLOWING = """
const width = document.documentElement.clientWidth;
const isOutside = (element) => element.getBoundingClientRect().right > width + 0.5;
return [...document.body.querySelectorAll("*")]
  .filter((element) => element.checkVisibility() && isOutside(element))
  .filter((element) => !element.parentElement.closest(".scroll, pre"))
  .map((element) => element.outerHTML.slice(0, 120));
"""


class Browser:
    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, page: Path) -> None:
        self.driver.get(page.as_uri())

    def resize(self, width: int, height: int = 900) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def emulate(
        self, scheme: Literal["light", "dark"], medium: Literal["screen", "print"] = "screen"
    ) -> None:
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        media = {"media": medium, "features": features}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        messages = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def overflowing(self) -> list[str]:
        return self.run(_OVERFLOWING)

    def texts(self) -> list[dict[str, Any]]:
        return self.run(_TEXTS)


def start_browser() -> Browser:
    """A browser that this machine has installed; skips the test where there is none."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs Chromium: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return Browser(Chrome(options, Service(driver)))
