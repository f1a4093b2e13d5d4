"use strict";

// Elements, and numbers in words. What comes from the worker or a file is only ever text.

const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function add(parent, children) {
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== "") parent.append(child);
  }
  return parent;
}

/** An element with attributes and children; strings become text. */
function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
  return add(made, children);
}

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return add(made, children);
}

/** Sets the text if it differs, so that screen readers are told of changes alone. */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const shown = new Map();

/** Draws what `draw` returns into an element, unless it was drawn from the same data before.

    What was open, and where the keyboard is, stays so: both go by `data-key`. */
function show(id, data, draw) {
  const text = JSON.stringify(data), place = byId(id);
  if (shown.get(id) === text) return;
  shown.set(id, text);
  const open = [...place.querySelectorAll("details[open]")].map((each) => each.dataset.key);
  const at = place.contains(document.activeElement) ? document.activeElement.closest("[data-key]")?.dataset.key : undefined;
  place.replaceChildren(...[draw()].flat().filter((each) => each !== null && each !== ""));
  for (const each of place.querySelectorAll("[data-key]")) {
    each.open = open.includes(each.dataset.key);
    if (each.dataset.key === at) each.querySelector("summary").focus();
  }
}

/** A file's or network's name, which a narrow line may break after its underscores. */
const breakable = (name) => name.split(/(?<=_)/).flatMap((part) => [part, el("wbr")]);

/** Within a sentence: a name whose letters run from right to left does not turn what stands around it. */
const isolated = (name) => `\u2068${name}\u2069`;

const counted = (n, one, many = `${one}s`) => `${whole(n)} ${n === 1 ? one : many}`;
const whole = (n) => Math.round(n).toLocaleString("en");
const sum = (numbers) => numbers.reduce((all, n) => all + (n ?? 0), 0);

/** A number with two or three digits; counts as they are. */
function short(n) {
  if (Number.isInteger(n)) return whole(n);
  return n < 1 ? n.toFixed(2) : n < 10 ? n.toFixed(1) : whole(n);
}

function duration(seconds) {
  const minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60), days = Math.floor(hours / 24);
  if (days) return `${counted(days, "day")}, ${counted(hours % 24, "hour")}`;
  if (hours) return `${counted(hours, "hour")}, ${counted(minutes % 60, "minute")}`;
  return minutes ? counted(minutes, "minute") : counted(seconds, "second");
}

const milliseconds = (ms) => (ms >= 1000 ? `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s` : `${ms < 10 ? ms.toFixed(1) : whole(ms)} ms`);
const bytes = (n) => (n >= 1e6 ? `${(n / 1e6).toFixed(1)} MB` : n >= 1e3 ? `${whole(n / 1e3)} kB` : `${n} B`);

/** A time of day; with the date where it is not today's. */
function clock(epoch) {
  const at = new Date(epoch * 1000), today = new Date().toDateString() === at.toDateString();
  const time = at.toLocaleTimeString("en-GB");
  return today ? time : `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, ${time}`;
}

const TASKS = { "clip.visual": "Photos for search", "clip.textual": "Search queries", "facial-recognition": "Faces", ocr: "Text in photos" };
const taskName = (name) => TASKS[name] ?? name;
const ENGINES = { hailo: "card", cpu: "processor" };
const engineName = (name) => ENGINES[name] ?? name;

const REASONS = {
  malformed: "not in Immich's format", unusable: "not a picture or model that can be served", another_site: "asked by another site's page", too_large: "too large",
  too_slow: "the upload stopped coming", unavailable: "could not be served at the time", task_off: "the task is off",
  full: "too many requests were waiting", late: "not answered in time", stopping: "the worker was stopping",
  device_lost: "the card was lost", engine_fault: "the engine failed", model_error: "a model file is wrong",
  client_gone: "the client hung up", no_memory: "no memory left", internal: "a fault of the worker: see its log",
  burst_lost: "the card lost a burst", frame_failed: "the engine failed on a frame", untrusted: "its answers cannot be trusted",
  card_hangs: "the card hangs", unexpected: "a fault of the worker: see its log",
};
const reason = (name) => REASONS[name] ?? name;

const RECOVERIES = { already_back: "nothing was left to do", reconfigured: "one network was put back", reopened: "the card was opened anew" };
