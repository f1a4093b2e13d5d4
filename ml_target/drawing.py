"""A copy of a photo with what was found drawn on it: boxes, landmarks, lines of text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ml_target.faces import Face
from ml_target.ocr import Line
from ml_target.tensors import UInt8

FACE, LANDMARK, TEXT, LABEL = "#ff9f1c", "#e71d36", "#2ec4b6", "#011627"


def draw(picture: UInt8, faces: Sequence[Face], lines: Sequence[Line], out: Path) -> None:
    """Writes the drawing to `out`; the ending decides the format. `picture`: H x W x 3 RGB uint8."""
    image = Image.fromarray(picture)
    canvas = ImageDraw.Draw(image)
    stroke = max(2, round(min(image.size) / 400))
    font = ImageFont.load_default(size=max(12, min(image.size) // 60))
    for face in faces:
        x1, y1, x2, y2 = (float(n) for n in face.box)
        canvas.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=FACE, width=stroke)
        for x, y in face.landmarks.tolist():
            canvas.ellipse((x - stroke, y - stroke, x + stroke, y + stroke), fill=LANDMARK)
        _label(canvas, (x1, y1), f"{float(face.score):.2f}", FACE, font)
    for line in lines:
        corners = np.asarray(line.corners, np.float64) * image.size
        canvas.polygon([(x, y) for x, y in corners.tolist()], outline=TEXT, width=stroke)
        _label(canvas, (float(corners[0, 0]), float(corners[0, 1])), line.text, TEXT, font)
    image.save(out)


def _label(
    canvas: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    colour: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    x, y = at[0], max(0.0, at[1] - (bottom - top) - 4)
    canvas.rectangle((x, y, x + right - left + 4, y + bottom - top + 4), fill=colour)
    canvas.text((x + 2 - left, y + 2 - top), text, fill=LABEL, font=font)
