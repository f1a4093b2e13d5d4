"""Draws the results on a copy of a photo: faces and landmarks with their scores, lines of text.

The photo itself gets only outlines, and face scores where they hide neither text nor another face. The text is written
on a white page beside the photo (below a wide one), each line at its position and angle in the photo. So no label
covers the next line, however dense the page is.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ml_target.errors import UnusableInput
from ml_target.tasks.faces.finder import Face
from ml_target.tasks.ocr.reader import Line
from ml_target.tensors import Float32, UInt8

FACE, LANDMARK, TEXT, LABEL = "#ff9f1c", "#e71d36", "#2ec4b6", "#011627"
PAGE, FAINT = "#ffffff", "#cdeeea"
WIDE = 1.8
"""Photos with a larger ratio of width to height have the page below them."""

FILL = 0.8
"""Height of the letters, as a share of the line's height."""

FILL_ALONG = 0.98
MAX_STRETCH = 1.5
"""Letters are stretched by at most this factor."""

TALL = 1.5
"""Lines with a larger ratio of height to width were turned before they were read: their text runs downwards."""

SMALLEST = 6
"""Pixels. Smaller letters are illegible, so text in smaller lines exceeds its line instead."""

Rectangle = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def check_target(out: Path, photo: Path) -> None:
    """Raises UnusableInput if a drawing cannot be written to `out`, or would overwrite the photo."""
    remedy = "Name a .jpg or .png in a folder that can be written"
    if out.suffix.lower() not in Image.registered_extensions():
        raise UnusableInput(f"{out} does not say which kind of picture to write", f"{remedy}.")
    if out.exists() and out.samefile(photo):
        raise UnusableInput(f"{out} is the photo itself, which a drawing must not replace", "Name another file.")
    if out.is_dir() or not os.access(out if out.exists() else out.absolute().parent, os.W_OK):
        raise UnusableInput(f"{out} cannot be written", f"{remedy}.")


def draw(picture: UInt8, faces: Sequence[Face], lines: Sequence[Line], out: Path) -> None:
    """Writes the drawing to `out`, in the format of its extension. `picture`: H x W x 3 RGB uint8.

    Without lines it has the photo's size, with lines twice that. Raises UnusableInput if it cannot be written.
    """
    image = Image.fromarray(picture)
    canvas = ImageDraw.Draw(image)
    stroke = max(2, round(min(image.size) / 400))
    font = ImageFont.load_default(size=max(12, min(image.size) // 60))
    places = [_pixels(line, image.size) for line in lines]
    for corners in places:
        canvas.polygon([(x, y) for x, y in corners.tolist()], outline=TEXT, width=stroke)
    boxes = [_box(face) for face in faces]
    for face, box in zip(faces, boxes, strict=True):
        canvas.rectangle(box, outline=FACE, width=stroke)
        for x, y in face.landmarks.tolist():
            canvas.ellipse((x - stroke, y - stroke, x + stroke, y + stroke), fill=LANDMARK)
    taken = [_around(corners) for corners in places] + boxes
    for number, face in enumerate(faces):
        others = taken[: len(places) + number] + taken[len(places) + number + 1 :]
        taken.append(_label(canvas, boxes[number], f"{float(face.score):.2f}", font, others, image.size))
    if lines:
        image = _with_page(image, lines, places, stroke)
    try:
        image.save(out)
    except (OSError, ValueError) as error:
        raise UnusableInput(
            f"{out} cannot be written ({error})", "Name a .jpg or .png in a writable folder."
        ) from error


def _pixels(line: Line, size: tuple[int, int]) -> Float32:
    return np.asarray(line.corners * np.array(size, np.float32), np.float32)


def _box(face: Face) -> Rectangle:
    x1, y1, x2, y2 = (float(n) for n in face.box)
    return x1, y1, max(x1, x2), max(y1, y2)


def _around(corners: Float32) -> Rectangle:
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return left, top, right, bottom


# --------------------------------------------------------------------- faces


def _label(
    canvas: ImageDraw.ImageDraw,
    box: Rectangle,
    text: str,
    font: Font,
    taken: Sequence[Rectangle],
    size: tuple[int, int],
) -> Rectangle:
    """Writes a face's score beside its box; returns the label's rectangle."""
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    x, y = _label_position(box, (width, height), taken, size)
    canvas.rectangle((x, y, x + width, y + height), fill=FACE)
    canvas.text((x + 2 - left, y + 2 - top), text, fill=LABEL, font=font)
    return x, y, x + width, y + height


def _label_position(
    box: Rectangle, label: tuple[float, float], taken: Sequence[Rectangle], size: tuple[int, int]
) -> tuple[float, float]:
    """Left and top of a label at a box: the first position that hides nothing, else the one that hides least."""
    (left, top, right, bottom), (width, height) = box, label
    places = [
        (left, top - height),
        (left, bottom),
        (left, top),
        (left, bottom - height),
        (right, top),
        (left - width, top),
        (right - width, top - height),
        (right - width, bottom),
    ]
    inside = [(min(max(x, 0.0), size[0] - width), min(max(y, 0.0), size[1] - height)) for x, y in places]

    def hidden(at: tuple[float, float]) -> float:
        return sum(_shared((*at, at[0] + width, at[1] + height), other) for other in taken)

    return min(inside, key=hidden)


def _shared(a: Rectangle, b: Rectangle) -> float:
    """The area that both cover, in pixels."""
    wide, high = (min(a[n + 2], b[n + 2]) - max(a[n], b[n]) for n in (0, 1))
    return max(0.0, wide) * max(0.0, high)


# ---------------------------------------------------------------------- text


def _with_page(image: Image.Image, lines: Sequence[Line], places: Sequence[Float32], stroke: int) -> Image.Image:
    """The marked photo with a page of the same size beside or below it."""
    width, height = image.size
    below = width > WIDE * height
    both = Image.new("RGB", (width, 2 * height) if below else (2 * width, height), PAGE)
    both.paste(image)
    page = Image.new("RGB", image.size, PAGE)
    for line, corners in zip(lines, places, strict=True):
        ImageDraw.Draw(page).polygon([(x, y) for x, y in corners.tolist()], outline=FAINT)
        _write(page, line.text, corners)
    both.paste(page, (0, height) if below else (width, 0))
    seam = (0, height, width, height) if below else (width, 0, width, height)
    ImageDraw.Draw(both).line(seam, fill=TEXT, width=stroke)
    return both


def _write(page: Image.Image, text: str, corners: Float32) -> None:
    """Writes the text at its line's position, along the upper side; downwards for a tall line, as it was read."""
    along, down = corners[1] - corners[0], corners[3] - corners[0]
    length, high = (float(np.linalg.norm(side)) for side in (along, down))
    angle = math.degrees(math.atan2(float(along[1]), float(along[0])))
    if high >= TALL * length:
        length, high, angle = high, length, angle + 90
    strip = _strip(text, length, high)
    if abs(angle) > 1:
        strip = strip.rotate(-angle, Image.Resampling.BICUBIC, expand=True)
    middle = corners.mean(axis=0)
    at = round(float(middle[0]) - strip.width / 2), round(float(middle[1]) - strip.height / 2)
    page.paste(LABEL, (*at, at[0] + strip.width, at[1] + strip.height), strip)


def _strip(text: str, length: float, high: float) -> Image.Image:
    """The text as a mask, stretched or compressed to its line's length."""
    font = ImageFont.load_default(size=max(SMALLEST, FILL * high))
    left, _, right, _ = font.getbbox(text)
    ascent, descent = font.getmetrics() if isinstance(font, ImageFont.FreeTypeFont) else (round(high), 0)
    strip = Image.new("L", (max(1, math.ceil(right - left)), max(1, ascent + descent)))
    ImageDraw.Draw(strip).text((-left, 0), text, fill=255, font=font)
    width = max(1, round(min(FILL_ALONG * length, MAX_STRETCH * strip.width)))
    return strip.resize((width, strip.height), Image.Resampling.LANCZOS)
