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
  const range = words || `most ${short(peak)}${unit}, on average ${short(mean)}${unit}`;
  const label = `${name}: ${short(last)}${unit} now; ${range}`;
  const heading = el("figcaption", {}, el("span", {}, name), el("span", { class: "value" }, el("span", { class: "number" }, short(last)), el("small", {}, unit)));
  const drawn = el("figure", { class: low ? "chart low" : "chart" }, heading, graph(values, label, { faults, most }), low ? null : el("p", {}, range));
  drawn.told = { name, values, last, unit };  // for the moment that is chosen
  return drawn;
}

/** Shares of one length, with their names and figures. `parts`: [name, milliseconds, colour]. */
function bar(parts, label) {
  const total = sum(parts.map(([, ms]) => ms)) || 1;
  const drawn = svg("svg", { class: "bar", viewBox: "0 0 100 1", preserveAspectRatio: "none", role: "img", "aria-label": label });
  let at = 0;
  parts.forEach(([, ms, colour]) => {
    const width = (ms / total) * 100;
    drawn.append(svg("rect", { class: `s${colour}`, x: at, width, y: 0, height: 1 }));
    at += width;
  });
  const key = parts.map(([name, ms, colour]) =>
    el("li", {}, svg("svg", { viewBox: "0 0 1 1", "aria-hidden": "true" }, svg("rect", { class: `s${colour}`, width: 1, height: 1 })), `${name} ${milliseconds(ms)}`));
  return [drawn, el("ul", { class: "key" }, key)];
}

/** A stage has the same colour in every bar; those that share one never meet in the same task. */
const COLOURS = { infer: 0, detect: 0, prepare: 1, recognise: 2, receive: 3, load: 7, wait: 7, boxes: 4, align: 5, crop: 5, characters: 6, decode: 8 };
const OTHER = 7, MOST_PARTS = 7;

/** Stages as they follow one another, those that hardly count as one; with their task's name, and by their place, where there are several tasks. */
function stageParts(stages) {
  const all = Object.entries(stages).filter(([name]) => name !== "total"), total = sum(all.map(([, ms]) => ms));
  const several = new Set(all.map(([name]) => name.match(/^(.*)\./)?.[1]).filter(Boolean)).size > 1;
  const least = Math.max(total * 0.01, all.map(([, ms]) => ms).sort((a, b) => b - a)[MOST_PARTS - 1] ?? 0);
  const kept = all.filter(([, ms]) => ms >= least).slice(0, MOST_PARTS), rest = total - sum(kept.map(([, ms]) => ms));
  const named = kept.map(([name, ms], i) => {
    const own = name.replace(/^.*\./, "");
    return several ? [name.replace(".", " "), ms, i] : [own, ms, COLOURS[own] ?? OTHER];
  });
  return rest > total * 0.005 ? [...named, ["other", rest, OTHER]] : named;
}
