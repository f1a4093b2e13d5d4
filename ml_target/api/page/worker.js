// What the worker says of itself: its state, its tasks, its device, what it did lately.

const FIRST = 10;  // of a long list

const STATES = {
  ready: ["Ready", "good"], loading: ["Loading", "warn"], recovering: ["Recovering its card", "warn"],
  idle: ["Idle: no task is on", "bad"], failed: ["Could not start", "bad"],
};

function showState(page) {
  const { status, tasks = [] } = page, [words, colour] = STATES[status.state] ?? [status.state, "warn"];
  const off = tasks.filter((task) => !task.on).length, waiting = tasks.filter((task) => waits(task, page)).length;
  const all = status.state === "ready" && off ? ["Ready, in part", "warn"] : [words, colour];
  setState(...all);
  say(byId("version"), status.version);
  const devices = [...new Set(page.devices.map((each) => each.device))].join(" and ");
  const on = waiting ? `${waiting} of ${counted(tasks.length, "task")} wait for it` : `${tasks.length - off} of ${counted(tasks.length, "task")} on${devices ? `, running on ${devices}` : ""}`;
  const runs = tasks.length ? `${on}. ` : "";
  const more = {
    loading: "It reads its model files; requests wait. ",
    recovering: "The card was lost. Requests wait, and are answered once it is back. ",
    failed: `${status.failure ?? ""} `,
    idle: "What is missing, and what to do, stands below. ",
  }[status.state] ?? "";
  say(byId("sentence"), `${more}${runs}`.trim());
  document.title = `${all[0]} – Immich ML worker`;
}

/** Neither on nor off: its requests are answered once their card is back. */
const waits = (task, page) => task.on && page.devices.some((device) => !device.ready && task.engines.includes(device.engine));

function setState(words, colour) {
  const state = byId("state");
  state.className = `state ${colour}`;
  if (state.textContent !== words) state.replaceChildren(el("span", {}, words));
}

function showTasks(page) {
  const tasks = (page.tasks ?? []).map((task) => ({ ...task, waits: waits(task, page) })).sort((a, b) => b.on - a.on), mixed = new Set(tasks.flatMap((task) => task.engines)).size > 1;
  show("tasks", tasks, () => tasks.map((task) => {
    const [words, kind] = task.waits ? ["Waits", "warn"] : task.on ? ["On", "good"] : task.fault ? ["Off: a fault", "bad"] : ["Off", "off quiet"];
    const on = [task.served_by, ...(mixed ? task.engines : []).map((name) => `on the ${engineName(name)}`)].filter(Boolean).join(", ");
    return el("li", { class: task.on ? null : "wide", "data-task": task.name },
      el("p", { class: "head" }, el("strong", {}, taskLabel(task, tasks)), el("span", { class: `mark ${kind}` }, words)),
      task.on ? el("p", { class: "quiet small" }, on) : note(task.why, task.remedy, task.fault));
  }));
}

/** Several variants of one task are told apart by what the summary calls them. */
function taskLabel(task, tasks) {
  return tasks.filter((each) => each.name === task.name).length > 1 ? `${taskName(task.name)} (${task.label.split(" ").at(-1)})` : taskName(task.name);
}

function note(why, remedy, bad = false) {
  return el("div", { class: `note ${bad ? "bad" : "warn"}` }, el("p", {}, why), remedy ? el("p", {}, el("strong", {}, "What to do: "), remedy) : null);
}

// ------------------------------------------------------------------ device

function showDevices(page) {
  const uptime = duration(Math.floor(page.status.uptime_s / 60) * 60 || page.status.uptime_s);
  show("devices", [page.devices, uptime], () => page.devices.map((device, i) => el("div", { class: "engine" },
    el("p", {}, device.device, " ", el("span", { class: `mark ${device.ready ? "good" : "warn"}` }, device.ready ? "in use" : "being recovered")),
    el("dl", {}, device.findings.flatMap(finding), Object.entries(device.readings).flatMap(reading), i ? [] : row("up for", uptime)))));
}

const row = (name, value) => [el("dt", {}, name), el("dd", {}, value)];

function finding({ ok, what, detail, remedy }) {
  return [...row(what, detail), ...(ok !== true && remedy ? [note(`${what}: ${detail}.`, remedy, ok === false)] : [])];
}

function reading([name, value]) {
  const [words, unit] = { temperature_c: ["temperature", "°C"], power_w: ["power", "W"] }[name] ?? [name, ""];
  const hot = name === "temperature_c" && value >= 85;
  return [...row(words, `${short(value)} ${unit}`), ...(hot ? [note("The card is hot: at 104 °C it slows down, at 120 °C it stops.", "Give it a heat sink or more air.")] : [])];
}

function showMemory(live) {
  const { memory, load } = live;
  show("memory", [memory, load], () => el("dl", {},
    row("memory", `${whole(memory.resident_mb)} MB resident; pictures take ${whole(memory.decoded_mb)} of at most ${whole(memory.limit_mb)} MB`),
    row("processor", `${counted(load.cores, "core")}, ${counted(load.threads, "thread")} that decode and prepare`)));
}

function showFaults(live) {
  const events = [...live.recoveries.map(recovery), ...(live.faults ?? []).map(fault)].sort((a, b) => b.at - a.at).slice(0, 8);
  show("faults", events, () => (events.length ? el("ul", { class: "list" }, events.map(({ at, words, colour }) =>
    el("li", {}, el("span", { class: "quiet" }, clock(at)), " ", el("span", { class: colour }, words)))) : el("p", { class: "quiet" }, "None since the start.")));
}

function recovery({ at, kind, seconds, engine = "hailo" }) {
  const device = `the ${engineName(engine)}`;
  if (seconds === null) return { at, words: `${device} lost a burst and is being recovered`, colour: "warn" };
  return { at, words: `${device} was back after ${short(seconds)} s: ${RECOVERIES[kind] ?? kind}`, colour: "" };
}

const fault = ({ at, network, kind }) => ({ at, words: [...breakable(network), `: ${reason(kind)}`], colour: "bad" });

// ------------------------------------------------------------------ Immich

function showImmich(page) {
  const { immich = [], names = [] } = page, none = page.immich ? "No task is on." : "It is not known until the models are loaded.";
  show("choose", [immich, none], () => (immich.length ? el("dl", {}, immich.flatMap((setting) => {
    const { field, value, note: more } = setting.field === "URL" ? ownAddress(setting) : setting;
    return row(field, el("span", {}, el("code", { class: "copy" }, value), more ? el("span", { class: "quiet small" }, ` ${more}`) : null));
  })) : el("p", { class: "quiet" }, none)));
  const first = names.slice(0, FIRST), more = names.slice(FIRST);  // anybody who reaches the worker can ask for many
  show("names", names, () => (names.length ? [el("ul", { class: "list" }, first.map(asked)), more.length ? el("details", { "data-key": "names" },
    el("summary", {}, `${whole(more.length)} more`), el("ul", { class: "list" }, more.map(asked))) : null] : el("p", { class: "quiet" }, "Nothing so far.")));
}

/** Where this page was found, Immich finds the worker too; unless that is this machine itself. Immich keeps a path that ends in a slash. */
function ownAddress(told, here = location) {
  if (["localhost", "127.0.0.1", "[::1]"].includes(here.hostname)) return told;
  const found = new URL(".", here.href);
  return { ...told, value: found.pathname === "/" ? found.origin : found.href, note: "" };
}

function asked({ task, asked, served_by, choose, costs, fits, why }) {
  const [words, colour] = why ? ["refused", "bad"] : fits ? ["fits", "good"] : ["another name", "warn"];
  const told = why || (fits ? "" : `Answered by ${served_by}. Choose ${choose.join(" or ")}, and keep one worker for the whole library${costs ? `; but ${costs}` : ""}.`);
  return el("li", {},
    el("code", { dir: "auto" }, asked), " ", el("span", { class: "quiet small" }, taskName(task)), " ", el("span", { class: `mark ${colour}` }, words),
    told ? el("p", { class: "small" }, told) : null);
}

// -------------------------------------------------------------------- live

function showLive(live) {
  showRun(live);
  setMoments(live);
  const rates = Object.entries(live.tasks).map(([name, task]) => [name, lately(task.done).map((n) => n && n / live.step_s), task]);
  show("pace", rates, () => rates.map(([name, rate, task]) => {
    const done = sum(task.done), failed = sum(task.failed), ms = sum(task.mean_ms.map((mean, i) => mean && mean * task.done[i]));
    const words = [counted(done, "answer"), failed ? `${whole(failed)} failed` : "", done ? `${milliseconds(ms / done)} each` : ""];
    return chart(taskName(name), rate, " a second", { faults: task.failed, words: words.filter(Boolean).join(", ") });
  }));
  const stages = Object.entries(live.tasks).filter(([, task]) => Object.keys(task.stages_ms).length).map(([name, task]) => [name, task.stages_ms]);
  show("stages", stages, () => (stages.length ? stages.map(stage) : el("p", { class: "quiet" }, "No request so far.")));
  show("networks", live.networks, () => networks(live));
  const failures = Object.entries(live.failures).filter(([, n]) => n).sort((a, b) => b[1] - a[1]);
  show("failures", failures, () => (failures.length ? el("ul", { class: "list" }, failures.map(([name, n]) =>
    el("li", {}, el("strong", { class: "bad" }, whole(n)), ` ${reason(name)}`))) : el("p", { class: "quiet" }, "None.")));
  keepMoment();
  showMemory(live);
  showFaults(live);
  showRequests(live.last);
}

const YOUNG_S = 10;

/** Of a run that has only just begun, or of one photo that somebody tried, no pace is told. */
function showRun({ run, now }) {
  if (run === null) return show("run", run, () => el("span", { class: "quiet" }, "No indexing run at the moment."));
  const pace = now - run.began < YOUNG_S ? " so far" : `, ${short(run.now_per_s)} a second now, ${short(run.mean_per_s)} on average`;
  show("run", [run, pace], () => [
    el("strong", {}, `Indexing since ${clock(run.began)}:`), ` ${counted(run.photos, "photo")}${pace}. `,
    el("span", { class: "quiet small" }, "A photo counts once for each task.")]);
}

function stage([name, stages]) {
  const parts = stageParts(stages), total = sum(Object.values(stages));
  const words = parts.map(([part, ms]) => `${part} ${milliseconds(ms)}`).join(", ");
  return el("div", { class: "stage" },
    el("p", {}, el("span", {}, taskName(name)), el("span", { class: "quiet" }, `${milliseconds(total)} on average`)),
    bar(parts, `${taskName(name)}, time by stage: ${words}`));
}

function networks(live) {
  const all = Object.entries(live.networks);
  if (!all.length) return el("p", { class: "quiet" }, "None loaded.");
  return [...devicesBusy(all, live.step_s), ...all.map(([name, network]) => el("div", { class: "network" },
    el("p", { title: name }, breakable(name), onEngine(` on the ${engineName(network.engine)}`)),
    chart("Waiting", network.waiting, "", { low: true }),
    chart("A burst", lately(network.frames, network.bursts), "", { low: true }),
    chart("Busy", share(network.busy_s, live.step_s), " %", { low: true, most: network.engine === "hailo" ? 100 : 0 })))];
}

const onEngine = (words) => el("span", { class: "quiet", "data-now": words }, words);

const share = (busy, step) => lately(busy).map((s) => s && (s / step) * 100);

const STEADY = 6;

/** The mean of the last half minute at each step, so that single requests are no spikes; or the mean for each `of`. */
function lately(values, of = null) {
  return values.map((value, i) => {
    if (value === null) return null;
    const from = Math.max(0, i + 1 - STEADY), these = values.slice(from, i + 1).filter((each) => each !== null);
    const divisor = of === null ? these.length : sum(of.slice(from, i + 1));
    return divisor ? sum(these) / divisor : 0;
  });
}

/** How busy a card was with all its networks. On the processor several run at a time: there is no such sum. */
function devicesBusy(all, step) {
  const busy = all.filter(([, network]) => network.engine === "hailo").map(([, network]) => network.busy_s);
  if (!busy.length) return [];
  const together = busy[0].map((s, i) => (s === null ? null : sum(busy.map((each) => each[i]))));
  return [chart("How busy the card was", share(together, step), " %", { most: 100 })];
}

let allRequests = false;

function showRequests(last) {
  const more = byId("more");
  more.hidden = last.length <= FIRST;
  say(more, allRequests ? `Show ${FIRST}` : `Show all ${last.length}`);
  more.setAttribute("aria-expanded", String(allRequests));
  more.onclick = () => { allRequests = !allRequests; showRequests(last); };
  show("requests", [last, allRequests], () => {
    if (!last.length) return el("p", { class: "quiet" }, "None so far.");
    const heads = [["Time"], ["Tasks"], ["Size", "right"], ["Took", "right"], ["Outcome"], ["Id"]];
    return el("table", { role: "table" },  // the roles are said, as on a phone it is laid out otherwise
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads.map(([name, kind = null]) => el("th", { role: "columnheader", scope: "col", class: kind }, name)))),
      el("tbody", { role: "rowgroup" }, last.slice(0, allRequests ? undefined : FIRST).map(request)));
  });
}

function request({ at, id, tasks, picture, bytes: size, stages_ms, total_ms, outcome, reason: why }) {
  const good = outcome === 200, stages = Object.entries(stages_ms).map(([name, ms]) => `${name} ${milliseconds(ms)}`).join(", ");
  const took = stages ? el("details", { "data-key": id }, el("summary", {}, milliseconds(total_ms)), el("span", { class: "quiet small" }, stages)) : milliseconds(total_ms);
  const cell = (kind, ...content) => el("td", { role: "cell", class: kind }, ...content);
  return el("tr", { role: "row" },
    cell("time quiet", clock(at)), cell("what", tasks.map(taskName).join(", ") || "–"),
    cell("right quiet size", `${picture ? `${picture[0]} × ${picture[1]}, ` : ""}${bytes(size)}`),
    cell("right took", took), cell(good ? "good" : "bad", good ? "answered" : `${outcome}: ${reason(why)}`),
    cell("quiet id", el("code", {}, id)));
}
