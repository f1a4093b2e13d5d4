// One moment for all graphs: that under the pointer, else the slider's. Their figures are then those of this moment.

let pointed = null, times = [];

/** When each step ended; the last one is now. */
function setMoments({ now, steps, step_s }) {
  const slider = byId("moment"), atNow = slider.value === slider.max;
  times = Array.from({ length: steps }, (_, i) => now - (steps - 1 - i) * step_s);
  slider.max = steps - 1;
  if (atNow) slider.value = slider.max;
}

function showMoment() {
  const slider = byId("moment"), at = pointed ?? Number(slider.value), past = at < Number(slider.max);
  const when = past ? new Date(times[at] * 1000).toLocaleTimeString("en-GB") : "now", paces = [];
  for (const chart of document.querySelectorAll(".chart")) {
    const { name, values, last, unit } = chart.told, value = past ? values[at] : last;
    const figure = value === null ? "–" : short(value), x = middle(at, values);
    say(chart.querySelector(".number"), figure);
    chart.classList.toggle("then", past);
    for (const end of ["x1", "x2"]) chart.querySelector(".moment").setAttribute(end, x);
    if (chart.closest("#pace")) paces.push(`${name} ${figure}${unit}`);
  }
  say(byId("when"), past ? `at ${when}` : when);
  for (const place of document.querySelectorAll("[data-now]")) say(place, past ? ` at ${when}` : place.dataset.now);
  return `${when}: ${paces.join(", ")}`;
}

/** After the graphs were drawn. A slider that has the keyboard stays quiet, so that nobody is told every few seconds. */
function keepMoment() {
  const words = showMoment(), slider = byId("moment");
  if (document.activeElement !== slider) slider.setAttribute("aria-valuetext", words);
}

function startMoments() {
  const slider = byId("moment"), graphs = byId("lately");
  slider.addEventListener("input", () => slider.setAttribute("aria-valuetext", showMoment()));
  const point = (event) => {
    const graph = event.target.closest(".graph"), box = graph?.getBoundingClientRect(), last = times.length - 1;
    pointed = graph ? Math.min(last, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * times.length))) : null;
    if (graph && event.pointerType !== "mouse") slider.value = pointed;  // a finger goes away
    keepMoment();
  };
  for (const event of ["pointermove", "pointerdown"]) graphs.addEventListener(event, point);
  graphs.addEventListener("pointerleave", () => { pointed = null; keepMoment(); });
}
