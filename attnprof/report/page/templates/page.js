"use strict";

const content = JSON.parse(document.getElementById("content").textContent);
const tooltip = document.getElementById("tooltip");
const REACH_PX = 40;
const GAP_PX = 12;
const texts = new Map();
let shownPoint = null;

for (const control of document.querySelectorAll(".control")) control.hidden = false;

/* Theme: the system's, until a reader chooses; kept in this page only. */

const themeButton = document.getElementById("theme");
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : systemIsDark.matches;
}

function nameTheme() {
  themeButton.textContent = isDark() ? "Light" : "Dark";
  themeButton.setAttribute("aria-label", `Use ${isDark() ? "light" : "dark"} colours`);
}

themeButton.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
systemIsDark.addEventListener("change", nameTheme);
nameTheme();

/* Charts: one kind at a time, the value of the point that is nearest or has the focus. */

const chartButtons = [...document.querySelectorAll("[data-shows]")];

function showChart(name) {
  for (const button of chartButtons) {
    const isShown = button.dataset.shows === name;
    button.setAttribute("aria-pressed", String(isShown));
    document.getElementById(`chart-${button.dataset.shows}`).hidden = !isShown;
  }
  hideTooltip();
}

for (const button of chartButtons) {
  button.addEventListener("click", () => showChart(button.dataset.shows));
}

/* The text is that of the point's <title>, which the browser would show a second time. */
function takeText(point) {
  const title = point.querySelector("title");
  texts.set(point, title.textContent);
  title.remove();
}

function centreOf(point) {
  const box = point.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
}

function showTooltip(point) {
  tooltip.textContent = texts.get(point);
  tooltip.hidden = false;
  shownPoint = point;
  placeTooltip();
}

function placeTooltip() {
  if (!shownPoint) return;
  const [x, y] = centreOf(shownPoint);
  const { width, height } = tooltip.getBoundingClientRect();
  const room = document.documentElement.clientWidth - width - 4;
  tooltip.style.left = `${Math.max(4, Math.min(x - width / 2, room))}px`;
  const above = y - height - GAP_PX;
  tooltip.style.top = `${above > 4 ? above : y + GAP_PX}px`;
}

function hideTooltip() {
  tooltip.hidden = true;
  shownPoint = null;
}

function nearest(points, x, y) {
  let best = null;
  let least = REACH_PX;
  for (const point of points) {
    const [left, top] = centreOf(point);
    const distance = Math.hypot(left - x, top - y);
    if (distance < least) [best, least] = [point, distance];
  }
  return best;
}

function neighbour(points, point, key) {
  const along = key === "ArrowRight" || key === "ArrowLeft";
  const isForward = key === "ArrowRight" || key === "ArrowUp";
  const same = (other) =>
    along
      ? other.dataset.kernel === point.dataset.kernel
      : other.dataset.seqLen === point.dataset.seqLen;
  const position = (other) => (along ? centreOf(other)[0] : -centreOf(other)[1]);
  const ordered = points.filter(same).sort((a, b) => position(a) - position(b));
  return ordered[ordered.indexOf(point) + (isForward ? 1 : -1)];
}

function connectPanel(svg) {
  const points = [...svg.querySelectorAll("[data-kernel]")];
  if (!points.length) return;
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-describedby", "chart-help");
  for (const point of points) {
    point.setAttribute("role", "img");
    takeText(point);
    point.setAttribute("aria-label", texts.get(point));
    point.setAttribute("tabindex", point === points[0] ? "0" : "-1");
    point.addEventListener("focus", () => showTooltip(point));
    point.addEventListener("blur", hideTooltip);
    point.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return hideTooltip();
      if (!event.key.startsWith("Arrow")) return;
      event.preventDefault();
      const next = neighbour(points, point, event.key);
      if (!next) return;
      point.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    });
  }
  const follow = (event) => {
    const point =
      event.target.closest("[data-kernel]") ?? nearest(points, event.clientX, event.clientY);
    if (point) showTooltip(point);
    else hideTooltip();
  };
  svg.addEventListener("pointermove", follow);
  svg.addEventListener("pointerdown", follow);
  svg.addEventListener("pointerleave", hideTooltip);
}

for (const svg of document.querySelectorAll(".panel svg")) connectPanel(svg);
if (chartButtons.length) showChart(chartButtons[0].dataset.shows);
addEventListener("scroll", placeTooltip, { passive: true });

/* All results: sorted by raw values, rows without one last; filtered by kernel. */

const body = document.querySelector("#rows tbody");
const rows = [...body.rows];
const headings = [...document.querySelectorAll("#rows thead th")];

function sortBy(column) {
  const isAscending = headings[column].getAttribute("aria-sort") !== "ascending";
  const sign = isAscending ? 1 : -1;
  const isNumber = headings[column].classList.contains("right");
  const valueOf = (row) => row.cells[column].dataset.sort;
  rows.sort((a, b) => {
    const [x, y] = [valueOf(a), valueOf(b)];
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
    return sign * (isNumber ? Number(x) - Number(y) : x.localeCompare(y));
  });
  body.append(...rows);
  for (const heading of headings) heading.removeAttribute("aria-sort");
  headings[column].setAttribute("aria-sort", isAscending ? "ascending" : "descending");
}

headings.forEach((heading, column) =>
  heading.querySelector("button").addEventListener("click", () => sortBy(column)),
);

const filter = document.getElementById("filter");
const count = document.getElementById("count");

function filterRows() {
  const wanted = filter.value.trim().toLowerCase();
  for (const row of rows) row.hidden = !row.cells[0].dataset.sort.toLowerCase().includes(wanted);
  const shown = rows.filter((row) => !row.hidden).length;
  count.textContent = shown === rows.length ? "" : `${shown} of ${rows.length} rows`;
}

filter.addEventListener("input", filterRows);

/* The command to the clipboard, the data to files. */

const announcement = document.getElementById("announcement");

function selectText(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      // Browsers refuse pages from files: the selection is there to be copied by hand.
      selectText(code);
      button.textContent = "Selected";
    }
    announcement.textContent = button.textContent;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

for (const link of document.querySelectorAll(".download")) {
  const { media_type: type, text } = content.downloads[Number(link.dataset.index)];
  link.href = URL.createObjectURL(new Blob([text], { type }));
}

/* The section that is being read, in the list of sections. */

const links = new Map(
  [...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]),
);
const inView = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      links.get(target.id)?.classList.toggle("is-here", isIntersecting);
    }
  },
  { rootMargin: "-20% 0px -75% 0px" },
);
for (const section of document.querySelectorAll("main section")) inView.observe(section);
