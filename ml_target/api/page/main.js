// Asks every few seconds, while somebody looks.

const EVERY_MS = 5000, PATIENCE_MS = 20000;
let timer = null, asking = false;

async function get(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.json();
}

async function refresh() {
  clearTimeout(timer);
  if (document.hidden || asking) return;
  asking = true;
  const answers = await Promise.all([get("status/page"), get("status/live")]).catch(() => null);
  asking = false;
  timer = setTimeout(refresh, EVERY_MS);
  try {
    if (answers) draw(...answers);
    else lost();
  } catch (error) {  // nothing old may stand there as if it were so
    setState("Reload this page", "bad");
    say(byId("sentence"), "The worker says what this page cannot show: it was updated while the page was open.");
    throw error;
  }
}

function draw(page, live) {
  for (const part of [showState, showTasks, showDevices, showImmich, showTryIt]) part(page);
  showLive(live);
}

function lost() {
  setState("No answer", "bad");
  say(byId("sentence"), "The worker does not answer. What stands below is the last that it said; this page goes on asking.");
}

document.addEventListener("visibilitychange", refresh);
startTryIt();
startMoments();
refresh();
