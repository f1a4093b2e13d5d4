"""What the letterbox cannot show a face detector: faces that fill the picture, and tiny ones in a large picture."""

from dataclasses import dataclass

import cv2
import numpy as np

from ml_target.imaging.grid import fewest, starts
from ml_target.tasks.faces.letterbox import letterbox
from ml_target.tensors import Float32, UInt8

CLOSE = 0.5
"""A face without a margin is found when shrunk to this share: 100 % at 320 of 640, 30 % at 448, none at 640."""

TILES = 8
"""Frames that one picture may take: they show 1920 x 1440 at 2.4 times the size of the letterbox."""

OVERLAP = 128
"""Frame pixels that tiles share. Larger faces are left to the letterbox: in one of 640 they have 40 pixels and more up
to 16:9, fewer in longer pictures, and 19 from 6.6:1 on, which is enough: 96 of 96 faces of 18 are found."""

WORTH = 1.3
"""Tiles that show the picture less than this much larger than the letterbox find nothing new."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One frame for the detector, height x width x 3 uint8, and which part of the picture it is.

    `scale`: frame pixels per picture pixel; `left`, `top`: where the frame begins, in frame pixels; `size`: height and
    width of the whole picture at this scale; `largest`: frame pixels of the longer side of a face that counts here.
    """

    frame: UInt8
    scale: float
    left: int = 0
    top: int = 0
    size: tuple[int, int] = (0, 0)
    largest: float = float("inf")

    def whole(self, boxes: Float32) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Which boxes (N x 4, picture pixels) count: not too large, and not cut by a border with a neighbour."""
        x1, y1, x2, y2 = (boxes * np.float32(self.scale)).T
        high, wide = self.frame.shape[:2]
        small = np.maximum(x2 - x1, y2 - y1) <= self.largest
        inside_x = ((x1 > self.left + 1) | (self.left == 0)) & (
            (x2 < self.left + wide - 1) | (self.left + wide >= self.size[1])
        )
        inside_y = ((y1 > self.top + 1) | (self.top == 0)) & (
            (y2 < self.top + high - 1) | (self.top + high >= self.size[0])
        )
        counts: np.ndarray[tuple[int], np.dtype[np.bool_]] = small & inside_x & inside_y
        return counts


def close_view(picture: UInt8, height: int, width: int) -> View:
    """The whole picture, H x W x 3 uint8, half as large as the letterbox shows it."""
    shrunk, scale = letterbox(picture, int(height * CLOSE), int(width * CLOSE))
    frame = np.zeros((height, width, 3), np.uint8)
    frame[: shrunk.shape[0], : shrunk.shape[1]] = shrunk
    return View(frame, scale)


def tiny_views(picture: UInt8, height: int, width: int) -> list[View]:
    """Tiles of the picture at up to its own size; none where they would show nothing new."""
    high, wide = picture.shape[:2]
    grid = fewest((high, wide), (height, width), OVERLAP, TILES)
    if grid.scale < WORTH * min(height / high, width / wide):
        return []
    size = (max(1, int(high * grid.scale)), max(1, int(wide * grid.scale)))
    scaled = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    views = []
    for top, left in starts(size, (height, width), grid):
        part = scaled[top : top + height, left : left + width]
        frame = np.zeros((height, width, 3), np.uint8)
        frame[: part.shape[0], : part.shape[1]] = part
        views.append(View(frame, grid.scale, left, top, size, OVERLAP))
    return views
