// Photos that people try: sent to this worker alone, kept in this page alone.

const LONGEST = 1440, QUALITY = 0.85, MOST_PHOTOS = 60;
let photos = [], chosen = null, query = null, facts = { models: {}, searches: false, loading: true };
let taking = Promise.resolve(), cleared = 0;  // those that come meanwhile wait; those of before a "Clear all" are dropped

/** What can be tried: the tasks that are on, each with the name that Immich should ask for. */
function showTryIt(page) {
  const models = {};  // of several variants the first that is on
  for (const task of page.tasks ?? []) if (task.on) models[task.name] ??= task.choose;
  facts = { models, searches: Boolean(models["clip.visual"]) && "clip.textual" in models, loading: !page.tasks };
  byId("try-on").hidden = !page.try_it;
  byId("try-off").hidden = page.try_it;
}

const tell = (words, bad = false) => {
  say(byId("try-said"), words);
  byId("try-said").classList.toggle("bad", bad);
};

function entries({ pictureTasks, search }) {
  const wanted = {};
  const { "clip.visual": clip, "facial-recognition": faces, ocr } = facts.models;
  if (search && clip) wanted.clip = { visual: { modelName: clip } };
  if (pictureTasks && faces) {
    wanted["facial-recognition"] = { detection: { modelName: faces, options: { minScore: 0.7 } }, recognition: { modelName: faces } };
  }
  if (pictureTasks && ocr) {
    wanted.ocr = {
      detection: { modelName: ocr, options: { minScore: 0.5, maxResolution: 736 } },
      recognition: { modelName: ocr, options: { minScore: 0.8 } },
    };
  }
  return wanted;
}

/** The worker's answer. Throws an Error with its words. */
async function ask(wanted, field, content) {
  const form = new FormData();
  form.append("entries", JSON.stringify(wanted));
  form.append(field, content);
  const began = performance.now();
  const response = await fetch("try", { method: "POST", body: form, headers: { Accept: "application/json" } }).catch(() => { throw new Error("The worker does not answer."); });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(typeof answer.detail === "string" ? answer.detail : `The worker answered ${response.status}.`);
  return { answer, timing: response.headers.get("Server-Timing"), took: performance.now() - began };
}

/** The photo as Immich would send it: small and upright. One that the browser cannot decode is sent as it is. Throws an Error for one that cannot be read. */
async function prepared(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    await file.slice(0, 1).arrayBuffer().catch(() => { throw new Error("The browser cannot read it. Of a folder, choose the photos in it."); });
    return { blob: file, url: null };
  }
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height)), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
  return { blob, url: URL.createObjectURL(blob) };
}

async function take(files) {
  const room = MOST_PHOTOS - photos.length, taken = files.slice(0, room), failed = [], since = cleared;
  for (const [i, file] of taken.entries()) {
    tell(`Photo ${i + 1} of ${taken.length} …`);
    const photo = { name: file.name || "photo", url: null, vector: null, answer: null, score: null };
    try {
      const alone = taken.length === 1 && !photos.length;
      Object.assign(photo, await prepared(file));
      await look(photo, { pictureTasks: alone, search: true });
      if (since === cleared) photos.push(photo);
      if (alone && since === cleared) chosen = photo;
    } catch (error) {
      failed.push(`${isolated(photo.name)}: ${error.message}`);
    }
    if (photo.url && !photos.includes(photo)) URL.revokeObjectURL(photo.url);
    if (since !== cleared) return;
    showPhotos();
  }
  if (query) rank();
  if (files.length > taken.length) failed.push(`${MOST_PHOTOS} photos are the most: ${counted(files.length - taken.length, "photo")} left out. Clear some first.`);
  const words = photos.length > 1 ? `${counted(photos.length, "photo")} here. ${facts.searches ? "Type what to look for, or choose one." : "Choose one."}` : "";
  tell(failed.length ? failed.join(" ") : words, failed.length > 0);
}

/** Asks what is not known of a photo yet. */
async function look(photo, wanted) {
  const wants = entries(wanted);
  if (!Object.keys(wants).length) {
    if (wanted.pictureTasks) throw new Error(facts.loading ? "The worker is still loading its models." : "No task that looks at photos is on.");
    return;
  }
  const { answer, timing, took } = await ask(wants, "image", photo.blob);
  if (answer.clip) photo.vector = JSON.parse(answer.clip);
  if (wanted.pictureTasks) Object.assign(photo, { answer, timing, took });
}

async function choose(photo) {
  chosen = photo;
  showPhotos();
  if (!photo.answer) await lookCloser(photo);
  if (chosen === photo) byId("answer").scrollIntoView({ block: "nearest" });  // it stands below all of them
}

async function lookCloser(photo) {
  tell(`Looking at ${isolated(photo.name)} …`);
  try {
    await look(photo, { pictureTasks: true, search: false });
    tell("");
  } catch (error) {
    tell(error.message, true);
  }
  showPhotos();
}

async function search() {
  const words = byId("query").value.trim();
  if (!words) return tell("Type what to look for.", true);
  byId("ask").disabled = true;
  try {
    const { answer, took } = await ask({ clip: { textual: { modelName: facts.models["clip.visual"] } } }, "text", words);
    query = JSON.parse(answer.clip);
    rank();
    tell(`Ranked by likeness to “${isolated(words)}”, in ${milliseconds(took)}.`);
  } catch (error) {
    tell(error.message, true);
  }
  byId("ask").disabled = false;
}

function rank() {
  for (const photo of photos) photo.score = photo.vector && cosine(photo.vector, query);
  photos.sort((a, b) => (b.score ?? -2) - (a.score ?? -2));
  showPhotos();
}

function cosine(a, b) {
  let dot = 0, aa = 0, bb = 0;
  for (let i = 0; i < a.length; i++) { dot += a[i] * b[i]; aa += a[i] * a[i]; bb += b[i] * b[i]; }
  return dot / Math.sqrt(aa * bb || 1);
}

function clearPhotos() {
  for (const photo of photos) if (photo.url) URL.revokeObjectURL(photo.url);
  photos = [];
  cleared++;
  chosen = query = null;
  byId("query").value = "";
  showPhotos();
  tell("");
  byId("photos").focus();
}

function showPhotos() {
  const focused = document.activeElement?.dataset?.photo, several = photos.length > 1;
  byId("search").hidden = !(several && facts.searches);
  byId("shelf").hidden = !several;
  byId("shelf").replaceChildren(...photos.map((photo, i) => {
    const score = photo.score === null ? null : el("span", { class: "score" }, `${photo.score.toFixed(3)} `);
    const button = el("button", { type: "button", "aria-pressed": String(photo === chosen), "data-photo": i },
      photo.url ? el("img", { src: photo.url, alt: "" }) : el("span", { class: "blank" }), el("span", { class: "name", title: photo.name }, score, el("bdi", {}, photo.name)));
    button.addEventListener("click", () => choose(photo));
    return el("li", {}, button);
  }));
  if (focused !== undefined) document.querySelector(`[data-photo="${Number(focused)}"]`)?.focus();
  byId("answer").hidden = !chosen?.answer;
  byId("answer").replaceChildren(...(chosen?.answer ? photoAnswer(chosen) : []));
}

function startTryIt() {
  const drop = byId("drop"), next = (list) => {
    const files = [...list], go = () => take(files);  // the list itself is emptied
    taking = taking.then(go, go);
  };
  byId("photos").addEventListener("change", (event) => {
    next(event.target.files);
    event.target.value = "";
  });
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    next(event.dataTransfer.files);
  });
  // A photo dropped beside the field must not replace the page.
  for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
  byId("ask").addEventListener("click", search);
  byId("query").addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.isComposing) search(); });
  byId("clear").addEventListener("click", clearPhotos);
}
