// The pages work without this. With it, tables become charts, times are told as one would, and numbers renew themselves.

const html = document.documentElement;
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
const still = matchMedia("(prefers-reduced-motion: reduce)");

// --- theme ------------------------------------------------------------------------------------------------------------

const THEMES = ["system", "light", "dark"];
const button = document.getElementById("theme");

function keep(theme) {
  try {
    if (theme === "system") localStorage.removeItem("theme");
    else localStorage.setItem("theme", theme);
  } catch {
    // Then it holds for this page.
  }
}

function showTheme() {
  button.textContent = `Theme: ${html.dataset.theme ?? "system"}`;
  button.hidden = false;
}

button.addEventListener("click", () => {
  const theme = THEMES[(THEMES.indexOf(html.dataset.theme ?? "system") + 1) % THEMES.length];
  if (theme === "system") delete html.dataset.theme;
  else html.dataset.theme = theme;
  keep(theme);
  showTheme();
  drawAll();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());

// --- values -----------------------------------------------------------------------------------------------------------

const short = (it) => (Math.abs(it) >= 99.95 ? it.toFixed(0) : it.toFixed(1).replace(/\.0$/, ""));

function shown(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "ratio") return `${short(100 * value)} %`;
  if (unit !== "seconds") return value.toLocaleString("en");
  for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (Math.abs(value) >= size) return `${short(value / size)} ${name}`;
  }
  return `${short(value)} s`;
}

const STEPS = [[60, 1, "second"], [3600, 60, "minute"], [86400, 3600, "hour"], [30 * 86400, 86400, "day"]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function tellTimes() {
  for (const it of $$("time")) {
    it.title ||= it.textContent;
    const seconds = (Date.now() - Date.parse(it.dateTime)) / 1000;
    const step = STEPS.find(([most]) => Math.abs(seconds) < most);
    it.textContent = step ? relative.format(-Math.floor(seconds / step[1]), step[2]) : it.title;
  }
}

// --- charts, each drawn from the table behind it ----------------------------------------------------------------------

const COLOURS = { Success: "--c3", Failed: "--c6", Canceled: "--c5", Running: "--c1", Pending: "--c2", Other: "--c4" };
const ORDER = ["--c1", "--c2", "--c3", "--c4", "--c6", "--c5"];
const DASHES = [[], [6, 3], [2, 3]];
const POINTS = ["circle", "rect", "triangle"];
const probe = document.createElement("i");

function colour(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

function read(table) {
  const columns = $$("thead th", table).map((it) => ({ name: it.textContent, unit: it.dataset.unit }));
  const rows = $$("tbody tr", table);
  const value = (cell) => (cell.querySelector("data") ? Number(cell.querySelector("data").value) : null);
  return {
    labels: rows.map((row) => row.cells[0].textContent),
    hrefs: rows.map((row) => [...row.cells].slice(1).map((cell) => cell.querySelector("a")?.href)),
    series: columns.slice(1).map((it, i) => ({ ...it, data: rows.map((row) => value(row.cells[i + 1])) })),
  };
}

function dataset({ name, data }, i, kind) {
  const base = colour(COLOURS[name] ?? ORDER[i % ORDER.length]);
  if (kind !== "line") return { label: name, data, backgroundColor: base, maxBarThickness: 28, borderRadius: 2 };
  const points = data.length > 60 ? 0 : 2.5;
  const line = { borderColor: base, borderWidth: 2, borderDash: DASHES[i % 3], tension: 0.25, spanGaps: true };
  return { label: name, data, backgroundColor: base, pointStyle: POINTS[i % 3], pointRadius: points, ...line };
}

function axis(stacked, extra) {
  const grid = { color: colour("--line"), drawTicks: false, ...extra.grid };
  const ticks = { color: colour("--soft"), padding: 6, maxRotation: 0, autoSkipPadding: 18, ...extra.ticks };
  return { stacked, grid, ticks, border: { display: false }, beginAtZero: true, suggestedMax: extra.most };
}

const days = new Intl.DateTimeFormat("en", { month: "short", day: "numeric", timeZone: "UTC" });
const day = (label) => (/^\d{4}-\d\d-\d\d$/.test(label) ? days.format(new Date(label)) : label);

const GRID = [1, 10, 60, 300, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 2 * 86400, 7 * 86400, 30 * 86400];

function step(unit, series) {
  const most = Math.max(...series.flatMap((it) => it.data));
  return unit === "seconds" ? GRID.find((it) => most / it <= 6) : undefined;
}

function draw(canvas, animated) {
  const { labels, hrefs, series } = read(canvas.closest(".card").querySelector("details.data table"));
  const kind = canvas.dataset.chart;
  const unit = series[0].unit;
  const tick = { callback: (it) => (unit === "count" && !Number.isInteger(it) ? null : shown(it, unit)), maxTicksLimit: 7, stepSize: step(unit, series) };
  Chart.getChart(canvas)?.destroy();
  new Chart(canvas, {
    type: kind === "line" ? "line" : "bar",
    data: { labels, datasets: series.map((it, i) => dataset(it, i, kind)) },
    options: {
      animation: animated && !still.matches ? { duration: 250 } : false,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: axis(kind === "stack", { grid: { display: false }, ticks: { callback: (_, i) => day(labels[i]) } }),
        y: axis(kind === "stack", { ticks: tick, most: unit === "ratio" ? 1 : unit === "count" ? 4 : undefined }),
      },
      plugins: {
        legend: { display: series.length > 1, align: "start", labels: { color: colour("--text"), boxHeight: 6, usePointStyle: true } },
        tooltip: { callbacks: { label: (it) => ` ${it.dataset.label}: ${shown(it.raw, series[it.datasetIndex].unit)}` } },
      },
      onClick: (_, [hit]) => {
        const href = hit && hrefs[hit.index][hit.datasetIndex];
        if (href) location.assign(href);
      },
    },
  });
}

function drawAll(within = document, animated = false) {
  if (!window.Chart) return;
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.font.size = 12;
  document.body.append(probe);
  for (const canvas of $$("canvas[data-chart]", within)) draw(canvas, animated);
  probe.remove();
}

// --- live: what was counted is told, and the parts of this page that have changed are put in place ---------------------

const PAUSE = 3000; // between two renewals; the first after a quiet time comes at once
const badge = document.getElementById("live");
let renewed = 0;
let waiting = null;
let live = null;
const was = new Map($$("[data-live]").map((part) => [part.id, part.innerHTML])); // as the server said it

function say(state, text) {
  badge.className = `live ${state}`;
  const said = document.getElementById("live-text");
  if (said.textContent !== text) said.textContent = text;
}

const focusable = (part) => $$("a, button, summary, [tabindex]", part);

function put(part, fresh) {
  const markup = fresh.innerHTML;
  if (was.get(part.id) === markup) return;
  const open = $$("details", part).map((it) => it.open);
  const focus = focusable(part).indexOf(document.activeElement);
  part.innerHTML = markup;
  part.className = fresh.className;
  was.set(part.id, markup);
  $$("details", part).forEach((it, i) => { it.open = open[i] ?? false; });
  focusable(part)[focus]?.focus({ preventScroll: true });
  drawAll(part);
}

async function renew() {
  waiting = null;
  if (document.hidden) return;
  renewed = Date.now();
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if ([401, 403].includes(answer.status)) return location.reload(); // signed out, or of no team: the page says what to do
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (document.getElementById("empty") && !page.getElementById("empty")) return location.reload();
  for (const part of $$("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (fresh) put(part, fresh);
  }
  tellTimes();
}

function renewSoon() {
  waiting ??= setTimeout(() => renew().catch(() => {}), Math.max(0, renewed + PAUSE - Date.now()));
}

function listen() {
  live?.close();
  say("", "Connecting…");
  const source = new EventSource("/live");
  source.addEventListener("open", () => say("on", "Live"));
  source.addEventListener("error", () => {
    say("off", "Not live; trying again");
    if (source.readyState !== EventSource.CLOSED) return;
    setTimeout(listen, 10_000);
    renewSoon();
  });
  source.addEventListener("counted", () => {
    say("on told", "Live");
    setTimeout(() => badge.classList.remove("told"), 1300);
    renewSoon();
  });
  live = source;
}

addEventListener("pagehide", () => live?.close());
addEventListener("pageshow", (it) => { if (it.persisted && live) { listen(); renewSoon(); } }); // back to a page that slept

document.addEventListener("visibilitychange", () => { if (!document.hidden && Date.now() - renewed > PAUSE) renewSoon(); });
showTheme();
if (innerWidth <= 900) for (const it of $$(".menu")) it.open = false;
if (window.Chart) for (const it of $$("details.data")) it.open = false;
html.classList.add("ready");
drawAll(document, true);
tellTimes();
setInterval(tellTimes, 15_000);
if (was.size) listen();
else badge.hidden = true;
