"""The bundled pictures and queries, and what is known about them.

`scripts/make_test_picture.py` makes the pictures. The faces of `board.jpg` are AI-made, of nobody, from a set
under the Apache-2.0 licence; everything else is drawn with the font that comes with Pillow.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ml_target.imaging.picture import decode
from ml_target.tensors import Float32, UInt8

FOLDER = Path(__file__).resolve().parent
BOARD, LABELS_PAGE = FOLDER / "board.jpg", FOLDER / "labels.png"
SIZE = (1280, 960)
"""Width and height of both pictures."""

Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

# ------------------------------------------------------------------ the board

FACE_LANDMARKS: Float32 = np.array(
    [
        [[179.2, 337.1], [241.8, 337.5], [211.6, 372.3], [189.2, 401.0], [234.1, 401.1]],
        [[466.2, 338.5], [529.2, 339.2], [501.4, 375.0], [471.0, 402.0], [525.1, 402.4]],
        [[749.8, 339.1], [813.2, 339.1], [770.0, 381.4], [752.8, 403.8], [813.8, 404.0]],
        [[1038.5, 339.0], [1100.3, 338.9], [1066.7, 374.7], [1047.4, 406.0], [1095.3, 405.7]],
    ],
    np.float32,
)
"""Eyes, nose and corners of the mouth of the four faces, from left to right, as InsightFace finds them."""

FACE_BOXES: Float32 = np.array(
    [[140, 260, 280, 437], [425, 261, 560, 452], [724, 249, 870, 465], [1009, 265, 1142, 449]], np.float32
)

BOARD_LINES = (
    "HARBOUR MARKET",
    "ALMA",
    "BRUNO",
    "CARLOS",
    "DAPHNE",
    "Saturday 14 September, 9:30 to 17:00",
    "Fresh bread, honey and 25 kinds of cheese",
    "Questions? Call 555-0142",
)

PARTS: Mapping[str, Rectangle] = {
    "boy": (88, 220, 336, 472),
    "man": (374, 220, 622, 472),
    "beard": (660, 220, 910, 472),
    "woman": (946, 220, 1196, 472),
    "title": (170, 70, 1110, 200),
    "lines": (180, 560, 1100, 860),
    "names": (100, 480, 1180, 560),
    "men": (360, 200, 920, 560),
    "left": (0, 0, 640, 960),
    "right": (640, 0, 1280, 960),
    "board": (0, 0, 1280, 960),
}
"""The parts of the board for smart search."""

FINDS: Mapping[str, str] = {
    "a photo of a little boy": "boy",
    "a portrait of a man with a beard": "beard",
    "a portrait of a woman with long dark hair": "woman",
    "a sign with the words Harbour Market in red letters": "title",
    "printed text: Saturday, September, bread, honey and cheese": "lines",
}
"""Queries, and the part of the board that each has to rank first among those named here."""

QUERIES = (
    *FINDS,
    "a photo of a cat",
    "two children playing on the beach at sunset",
    "a red car parked in front of an old house",
    "birthday party 2023",
    "café crème by the sea",
    "snow on the mountains",
    "invoice from the dentist",
)

# ----------------------------------------------------------------- the labels


class Label(NamedTuple):
    """A word on a coloured ground, in the middle of a cell of the page."""

    text: str
    size: int
    ink: str
    ground: str


COLUMNS, ROWS = 5, 6
_WORDS = """apples basket candle dragon engine forest guitar hammer island jacket kitchen lantern mirror number
orange pepper quartz rocket silver tunnel umbrella violin window yellow zebra 2024 17:45 B-512 38% 555-0142"""
_INKS = (
    ("#1b1b2f", "#f6f0e2"),
    ("#ffffff", "#1d4e89"),
    ("#7a1f1f", "#f2d7b6"),
    ("#ffe066", "#2b2d42"),
    ("#0b3d2e", "#9ad1b3"),
    ("#b3261e", "#c9e4f2"),
)
LABELS = tuple(Label(word, (38, 46, 52)[n % 3], *_INKS[n % len(_INKS)]) for n, word in enumerate(_WORDS.split()))


def cell(number: int) -> Rectangle:
    """The cell of label `number`."""
    width, height = SIZE[0] // COLUMNS, SIZE[1] // ROWS
    left, top = number % COLUMNS * width, number // COLUMNS * height
    return left, top, left + width, top + height


# ------------------------------------------------------------------- pictures


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The pictures in memory, H x W x 3 uint8 RGB. `photos`: the user's own, by name; nothing is known about them."""

    board: UInt8
    labels: UInt8
    photos: Mapping[str, UInt8]

    @classmethod
    def load(cls, photos: Mapping[str, UInt8] | None = None) -> "Samples":
        """Reads the bundled files."""
        board, labels = (decode(file.read_bytes(), SIZE[0] * SIZE[1]) for file in (BOARD, LABELS_PAGE))
        return cls(board, labels, photos or {})

    def parts(self) -> dict[str, UInt8]:
        """The parts of the board, by name."""
        return {name: _cut(self.board, part) for name, part in PARTS.items()}

    def gallery(self) -> list[UInt8]:
        """Pictures for smart search: the parts, the same parts mirrored in warmer light, and the user's photos."""
        parts = list(self.parts().values())
        return [*parts, *(_warm(_mirrored(part)) for part in parts), *self.photos.values()]

    def boards(self) -> list[UInt8]:
        """The board as four photos: as it is, mirrored, in warm light and rotated, small and dark."""
        turned = cv2.warpAffine(
            _warm(self.board),
            cv2.getRotationMatrix2D((SIZE[0] / 2, SIZE[1] / 2), 12, 1),
            SIZE,
            borderMode=cv2.BORDER_REPLICATE,
        )
        small = cv2.resize(self.board, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return [self.board, _mirrored(self.board), np.asarray(turned, np.uint8), _dark(np.asarray(small, np.uint8))]

    def strips(self) -> Iterator[tuple[str, UInt8]]:
        """Each label's text, and the strip of the page that holds it."""
        for number, label in enumerate(LABELS):
            left, top, right, bottom = cell(number)
            half = round(0.7 * label.size)
            middle = (top + bottom) // 2
            yield label.text, _cut(self.labels, (left + 4, middle - half, right - 4, middle + half))


def copies(picture: UInt8) -> list[UInt8]:
    """The picture after JPEG compression at two other qualities."""
    found = []
    for quality in (80, 92):
        _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        found.append(np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]))
    return found


def lights(crops: list[UInt8]) -> list[UInt8]:
    """Crops as they are, mirrored, and in warm light, in which the colour order shows."""
    return [*crops, *map(_mirrored, crops), *map(_warm, crops)]


def swapped(frame: UInt8) -> UInt8:
    """The picture with red and blue swapped."""
    return np.ascontiguousarray(frame[..., ::-1])


def _cut(picture: UInt8, part: Rectangle) -> UInt8:
    left, top, right, bottom = part
    return np.ascontiguousarray(picture[top:bottom, left:right])


def _mirrored(picture: UInt8) -> UInt8:
    return np.ascontiguousarray(picture[:, ::-1])


def _warm(picture: UInt8) -> UInt8:
    return np.asarray(np.clip(picture * np.array([1.2, 0.85, 0.35]), 0, 255), np.uint8)


def _dark(picture: UInt8) -> UInt8:
    return np.asarray(picture * 0.6, np.uint8)
