// A photo with its answer: faces with five landmarks, lines of text, times. Boxes are drawn in the picture's own pixels.

const named = { face: "Faces", line: "Text" };

/** What an answer holds: boxes as polygons in pixels, with a word and a score. */
function foundIn(answer) {
  const width = answer.imageWidth, height = answer.imageHeight, found = [];
  for (const { boundingBox: b, score, landmarks = [] } of answer["facial-recognition"] ?? []) {
    found.push({ kind: "face", corners: [[b.x1, b.y1], [b.x2, b.y1], [b.x2, b.y2], [b.x1, b.y2]], points: landmarks, score, word: "" });
  }
  const { text = [], box = [], textScore = [] } = answer.ocr ?? {};
  text.forEach((word, i) => {
    const corners = [0, 2, 4, 6].map((n) => [box[8 * i + n] * width, box[8 * i + n + 1] * height]);
    found.push({ kind: "line", corners, points: [], score: textScore[i], word });
  });
  const number = { face: 0, line: 0 };
  for (const each of found) each.number = ++number[each.kind];
  return found;
}

function drawn(found, width, height) {
  const unit = Math.max(width, height) / 100;
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, found.map((each) => {
    const points = each.corners.map((corner) => corner.join(",")).join(" "), [x, y] = each.corners[0];
    each.mark = svg("g", {},
      svg("polygon", { class: "mark-under", points }), svg("polygon", { class: each.kind, points }),
      each.points.map(([px, py]) => svg("circle", { class: "point", cx: px, cy: py, r: unit * 0.35 })),
      each.kind === "face" ? svg("text", { class: "tag", x, y: Math.max(unit * 2.4, y - unit * 0.6), "font-size": unit * 2.2, "stroke-width": unit * 0.5 }, `${each.number} · ${each.score.toFixed(2)}`) : null);
    return each.mark;
  }));
}

function listed(kind, found) {
  const these = found.filter((each) => each.kind === kind);
  if (!these.length) return el("p", { class: "quiet" }, `None found.`);
  return el("ol", { class: "found", tabindex: "0", "aria-label": named[kind] }, these.map((each) => {
    const item = el("li", {}, el("span", { dir: "auto" }, each.word || `Face ${each.number}`), el("span", { class: "score" }, each.score.toFixed(2)));
    item.addEventListener("pointerenter", () => each.mark.classList.add("lit"));
    item.addEventListener("pointerleave", () => each.mark.classList.remove("lit"));
    return item;
  }));
}

/** `Server-Timing: decode;dur=12.3, …` as [name, milliseconds] pairs by name. */
function timings(header) {
  const found = {};
  for (const part of (header ?? "").split(",")) {
    const [, name, ms] = part.match(/^\s*([\w.-]+)\s*;.*?dur=([\d.]+)/) ?? [];
    if (name) found[name] = Number(ms);
  }
  return found;
}

/** The whole answer of one photo. */
function photoAnswer(photo) {
  const { answer, name } = photo, found = foundIn(answer), stages = timings(photo.timing);
  const faces = found.filter((each) => each.kind === "face").length, lines = found.length - faces;
  const words = `${isolated(name)}: ${counted(faces, "face")}, ${counted(lines, "line")} of text`;
  const picture = photo.url ? el("img", { src: photo.url, alt: words, width: answer.imageWidth, height: answer.imageHeight })
    : svg("svg", { class: "blank", viewBox: `0 0 ${answer.imageWidth} ${answer.imageHeight}`, role: "img", "aria-label": words });
  const parts = stageParts(stages), took = stages.total ?? photo.took;
  const asked = (key) => answer[key] !== undefined;
  return [
    el("figure", { class: "shown" }, picture, drawn(found, answer.imageWidth, answer.imageHeight)),
    el("div", {},
      el("p", { class: "quiet small" }, el("bdi", {}, name), `, ${answer.imageWidth} × ${answer.imageHeight}`),
      asked("facial-recognition") ? [el("h3", {}, "Faces"), listed("face", found)] : null,
      asked("ocr") ? [el("h3", {}, "Text"), listed("line", found)] : null,
      el("h3", {}, `Answered in ${milliseconds(took)}`),
      parts.length ? bar(parts, `Time by stage: ${parts.map(([part, ms]) => `${part} ${milliseconds(ms)}`).join(", ")}`) : null,
      sum(parts.map(([, ms]) => ms)) > took * 1.05 ? el("p", { class: "quiet small" }, "Tasks work at the same time, so their stages add up to more.") : null),
  ];
}
