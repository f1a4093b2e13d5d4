"""The result as one HTML page: figures, verdicts, and the photos that differ most. It loads nothing from elsewhere."""

import base64
import io
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from ml_target.diagnostics.checks.measures import match
from ml_target.diagnostics.compare.answers import SeenFace, SeenLine
from ml_target.diagnostics.compare.asking import FACES, OURS, SEARCH, SIDES, THEIRS, Answers
from ml_target.diagnostics.compare.comparison import Comparison, Likeness
from ml_target.diagnostics.compare.faces import SAME_FACE
from ml_target.diagnostics.compare.output import Result, refusals
from ml_target.diagnostics.compare.photos import Photo
from ml_target.errors import WorkerError
from ml_target.imaging.picture import decode
from ml_target.log.private import without_login
from ml_target.tensors import Float32

SHOWN = 12
"""Photos a task."""

SIDE = 320
"""Pixels of a thumbnail's longer side."""

MAX_PIXELS = 100_000_000
OURS_INK, THEIRS_INK = "#e76f00", "#0077b6"
TONES = {Likeness.SAME: "good", Likeness.ALIKE: "fair", Likeness.OTHER: "bad", Likeness.OPEN: "open"}

STYLE = f"""
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse }} td, th {{ padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top }}
.verdict {{ border-left: .5rem solid; padding: .5rem 1rem; margin: 1rem 0 }}
.good {{ border-color: #2a9d4a }} .fair {{ border-color: #d99a00 }}
.bad {{ border-color: #c1272d }} .open {{ border-color: gray }}
.photos {{ display: flex; flex-wrap: wrap; gap: 1rem }}
figure {{ margin: 0; width: 20rem }} img {{ max-width: 100%; height: auto }}
figcaption {{ font-size: .85rem; overflow-wrap: anywhere }}
.ours {{ color: {OURS_INK} }} .theirs {{ color: {THEIRS_INK} }}
"""

HEAD = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Two workers compared</title><style>{STYLE}</style></head><body>
"""


def page(result: Result, answers: Answers, photos: Sequence[Photo]) -> str:
    """`photos`: in the order of the answers' numbers."""
    parts = [HEAD, "<h1>Two workers compared</h1><table>"]
    for side, tone, who in ((OURS, "ours", "we"), (THEIRS, "theirs", "they")):
        parts.append(
            f'<tr><th class="{tone}">{who}</th><td>{side}, {escape(without_login(result.workers[side].url))}</td></tr>'
        )
    names = "<br>".join(escape(each) for each in result.names)
    parts.append(f"</table><p>{names}</p><p>{_asked(result)}</p>")
    for comparison in result.comparisons:
        parts.append(_section(comparison))
        shown = list(_photos(comparison.task, answers, photos))
        if shown:
            parts.append(f'<h3>The photos that differ most</h3><div class="photos">{"".join(shown)}</div>')
    told = refusals(result)
    if told:
        parts.append("<h2>Not answered</h2><ul>" + "".join(f"<li>{escape(each)}</li>" for each in told) + "</ul>")
    return "\n".join([*parts, "</body></html>\n"])


def _asked(result: Result) -> str:
    if result.bundled:
        return "Bundled pictures: they show cosines. A folder of your own photos gives verdicts."
    return f"{result.photos:,} of {result.of:,} photos, spread over the folder."


def _section(comparison: Comparison) -> str:
    rows = "".join(
        f"<tr><td>{escape(each.label)}</td><td>{escape(each.shown)}</td></tr>" for each in comparison.measures
    )
    return (
        f"<h2>{escape(comparison.task.capitalize())}</h2><p>{escape(comparison.compared)}</p>"
        f'<div class="verdict {TONES[comparison.likeness]}"><b>{escape(comparison.likeness.value.capitalize())}</b>: '
        f"{escape(comparison.why)}.<br>{escape(comparison.advice)}</div><table>{rows}</table>"
    )


def _photos(task: str, answers: Answers, photos: Sequence[Photo]) -> Iterator[str]:
    """Figures, the photo that differs most first; none for photos that both answer the same."""
    shared = answers.both(task, len(photos))
    rated = []
    for number in shared:
        ours, theirs = (answers.seen[side, task, number] for side in SIDES)
        rated.append((_unlike(task, ours, theirs), number))
    for unlike, number in sorted(rated, reverse=True)[:SHOWN]:
        if unlike <= 0:
            return
        ours, theirs = (answers.seen[side, task, number] for side in SIDES)
        boxes = [] if task == SEARCH else [(OURS_INK, [x.box for x in ours]), (THEIRS_INK, [x.box for x in theirs])]
        caption = escape(photos[number].name) + _caption(task, ours, theirs)
        yield f"<figure>{_thumbnail(photos[number], boxes)}<figcaption>{caption}</figcaption></figure>"


def _unlike(task: str, ours: Any, theirs: Any) -> float:
    """0 for the same answer; larger the more they differ."""
    if task == SEARCH:
        return _apart(ours, theirs)
    if task == FACES:
        pairs = match([face.box for face in ours], [face.box for face in theirs], SAME_FACE)
        alone = len(ours) + len(theirs) - 2 * len(pairs)
        return alone + max((_apart(ours[i].vector, theirs[j].vector) for i, j, _ in pairs), default=0.0)
    return float(len({line.text for line in ours} ^ {line.text for line in theirs}))


def _apart(a: Float32, b: Float32) -> float:
    """The cosine distance of two unit vectors; the largest there is where their widths differ."""
    return round(1 - float(a @ b), 6) if a.shape == b.shape else 2.0


def _caption(task: str, ours: Sequence[SeenFace | SeenLine], theirs: Sequence[SeenFace | SeenLine]) -> str:
    if task == SEARCH:
        return f"<br>distance {_unlike(task, ours, theirs):.4f}"
    if task == FACES:
        return f'<br><span class="ours">{len(ours)} faces</span>, <span class="theirs">{len(theirs)} faces</span>'
    texts = [[x.text for x in side if isinstance(x, SeenLine)] for side in (ours, theirs)]
    alone = [[text for text in side if text not in other] for side, other in (texts, texts[::-1])]
    return "".join(
        f'<br><span class="{tone}">{escape(" · ".join(lines[:8]))}</span>'
        for tone, lines in zip(("ours", "theirs"), alone, strict=True)
        if lines
    )


def _thumbnail(photo: Photo, boxes: Sequence[tuple[str, Sequence[tuple[float, float, float, float]]]]) -> str:
    """An image element with the boxes drawn in, or why there is none."""
    try:
        image = Image.fromarray(decode(photo.read(), MAX_PIXELS))
    except (OSError, WorkerError) as error:
        return f"<p>{escape(str(error))}</p>"
    image = ImageOps.contain(image, (SIDE, SIDE))
    canvas = ImageDraw.Draw(image)
    for ink, sides in boxes:
        for left, top, right, bottom in sides:
            x, y = sorted(np.clip((left, right), 0, 1)), sorted(np.clip((top, bottom), 0, 1))
            x, y = [each * image.width for each in x], [each * image.height for each in y]
            canvas.rectangle((x[0], y[0], x[1], y[1]), outline=ink, width=2)
    out = io.BytesIO()
    image.save(out, "jpeg", quality=80)
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}">'
