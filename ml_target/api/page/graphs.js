// Small graphs, drawn by hand. Each says the same in words: the figures beside it, and a label for screen readers.

const WIDE = 120, HIGH = 30;
const middle = (i, values) => ((i + 0.5) * WIDE) / values.length;

/** A curve over the steps; gaps where there is no number. `faults`: how many failed in each step. */
function graph(values, label, { most = 0, faults = [] } = {}) {
  const top = Math.max(most, ...values.map((v) => v ?? 0)) || 1;
  const x = (i) => middle(i, values), y = (v) => HIGH - 1 - (v / top) * (HIGH - 3);
  const drawn = svg("svg", { class: "graph", viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  drawn.append(svg("line", { class: "floor", x1: 0, x2: WIDE, y1: HIGH - 0.5, y2: HIGH - 0.5 }));
  for (const [from, to] of stretches(values)) {
    const points = [];
    for (let i = from; i <= to; i++) points.push(`${x(i).toFixed(1)} ${y(values[i]).toFixed(1)}`);
    const line = `M${points.join("L")}`;
    drawn.append(svg("path", { class: "area", d: `${line}L${x(to).toFixed(1)} ${HIGH}L${x(from).toFixed(1)} ${HIGH}Z` }));
    drawn.append(svg("path", { class: "curve", d: line }));
  }
  faults.forEach((n, i) => n && drawn.append(svg("line", { class: "fault", x1: x(i), x2: x(i), y1: HIGH, y2: HIGH - 7 })));
  drawn.append(svg("line", { class: "moment", y1: 0, y2: HIGH }));
  return drawn;
}

function* stretches(values) {
  let from = -1;
  for (let i = 0; i <= values.length; i++) {
    const there = i < values.length && values[i] !== null;
    if (there && from < 0) from = i;
    if (!there && from >= 0) { yield [from, i - 1]; from = -1; }
  }
}

/** A graph with its name, the figure of now, and the range in words; a `low` one tells the range in its label alone. */
function chart(name, values, unit, { low = false, faults = [], most = 0, words = "" } = {}) {
  const known = values.filter((v) => v !== null), last = known.at(-1) ?? 0;
  const peak = Math.max(0, ...known), mean = known.length ? sum(known) / known.length : 0;
  const range = words || `most ${short(peak)}, on average ${short(mean)}`;
  const label = `${name}: ${short(last)}${unit} now; ${range}`;
  const heading = el("figcaption", {}, el("span", {}, name), el("span", { class: "value" }, el("span", { class: "number" }, short(last)), el("small", {}, unit)));
  const drawn = el("figure", { class: low ? "chart low" : "chart" }, heading, graph(values, label, { faults, most }), low ? null : el("p", {}, range));
  drawn.told = { name, values, last, unit };  // for the moment that is chosen
  return drawn;
}

/** Shares of one length, with their names and figures. `parts`: [name, milliseconds]. */
function bar(parts, label) {
  const total = sum(parts.map(([, ms]) => ms)) || 1;
  const drawn = svg("svg", { class: "bar", viewBox: "0 0 100 1", preserveAspectRatio: "none", role: "img", "aria-label": label });
  let at = 0;
  parts.forEach(([, ms], i) => {
    const width = (ms / total) * 100;
    drawn.append(svg("rect", { class: `s${i % 8}`, x: at, width, y: 0, height: 1 }));
    at += width;
  });
  const key = parts.map(([name, ms], i) =>
    el("li", {}, svg("svg", { viewBox: "0 0 1 1", "aria-hidden": "true" }, svg("rect", { class: `s${i % 8}`, width: 1, height: 1 })), `${name} ${milliseconds(ms)}`));
  return [drawn, el("ul", { class: "key" }, key)];
}

/** Stages, longest first, those that hardly count as one; with their task's name where there are several tasks. */
function stageParts(stages) {
  const all = Object.entries(stages).filter(([name]) => name !== "total");
  const several = new Set(all.map(([name]) => name.match(/^(.*)\./)?.[1]).filter(Boolean)).size > 1;
  const named = all.map(([name, ms]) => [several ? name.replace(".", " ") : name.replace(/^.*\./, ""), ms]);
  const total = sum(named.map(([, ms]) => ms)), large = named.filter(([, ms]) => ms >= total * 0.01).sort((a, b) => b[1] - a[1]);
  const kept = large.slice(0, 7), rest = total - sum(kept.map(([, ms]) => ms));
  return rest > 0.05 ? [...kept, ["other", rest]] : kept;
}
