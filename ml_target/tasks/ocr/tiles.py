"""Prepares a picture for a text detector: at the official worker's scale, in tiles where the network has one size.

Tiles are upright, because the network finds small print much worse when it is turned, and they have the official
scale, because every tenth less loses lines of the smallest print. A first pass over the whole picture in one frame
saves nothing: it does not show a single small line. `scripts/bench accuracy` measures the effect of the number of
tiles. `mosaic` merges their maps.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ml_target.catalogue.types import Colour
from ml_target.imaging.grid import covered, fewest, starts
from ml_target.imaging.lanczos import Together, in_turn, resized
from ml_target.tensors import UInt8

DETECTION_MULTIPLE = 32
"""The detector halves its frame five times."""

MAX_DETECTION_PIXELS = 6_500_000
"""Largest free detection frame. ONNX Runtime needs about 150 MB per megapixel, so this is 1 GB.

At Immich's default of 736 it bounds pictures longer than sixteen times their width, and with
`maxResolution` at the full 2160 of the largest previews it still takes 2160 x 2880.
"""

OVERLAP = 64
"""The fewest pixels that neighbours share: a line that a border cuts is whole in one, or seen from both sides."""

NEAR = 0.95
"""A scale this near to the official one counts as it: a picture of 4:3 is covered by two tiles instead of four."""

_COARSE = 3  # reducing first to this many times the target looks the same as one step (Pillow's `reducing_gap`)


def official_size(height: int, width: int, max_resolution: int) -> tuple[int, int]:
    """Height and width at which the official worker looks for lines, multiples of 32.

    The shorter side becomes `max_resolution` pixels but is never enlarged.
    """
    return _scaled(height, width, min(1.0, max_resolution / min(height, width)))


def bounded_size(height: int, width: int, max_resolution: int) -> tuple[int, int]:
    """The official size, or the largest of at most `MAX_DETECTION_PIXELS`."""
    scale = min(1.0, max_resolution / min(height, width))
    while (size := _scaled(height, width, scale))[0] * size[1] > MAX_DETECTION_PIXELS:
        # The extra thousandth gets past sizes that round back up.
        scale *= 0.999 * math.sqrt(MAX_DETECTION_PIXELS / (size[0] * size[1]))
    return size


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a picture is covered.

    `size`: height and width that the picture is scaled to; `frame`: those of a tile; `starts`: top and left
    of each tile, row by row; `reduced`: True where a limit lowered the scale below the official one.
    """

    size: tuple[int, int]
    frame: tuple[int, int]
    starts: tuple[tuple[int, int], ...]
    reduced: bool = False


def whole(height: int, width: int, max_resolution: int) -> Tiling:
    """The picture as one frame at the official scale, for a detector that takes any size."""
    size = bounded_size(height, width, max_resolution)
    return Tiling(size, size, ((0, 0),), reduced=size != official_size(height, width, max_resolution))


def plan(height: int, width: int, frame: tuple[int, int], max_resolution: int, max_tiles: int) -> Tiling:
    """The fewest tiles of `frame` (height, width) that show the picture at the official scale, or nearly.

    Where more than `max_tiles` were needed, the scale is lowered to what they can cover.
    """
    official = official_size(height, width, max_resolution)
    grid = fewest(official, frame, OVERLAP, max_tiles, enough=NEAR)
    reduced = grid.scale < NEAR
    if reduced:
        high, wide = (max(1, int(side * grid.scale)) for side in official)
    else:  # the side that does not fit shrinks, the other half as much: small print needs every pixel of its height
        fits = [min(1.0, most / side) for most, side in zip(covered(frame, OVERLAP, grid), official, strict=True)]
        high = int(official[0] * min(fits[0], math.sqrt(fits[1])))
        wide = int(official[1] * min(fits[1], math.sqrt(fits[0])))
    return Tiling((high, wide), frame, starts((high, wide), frame, grid), reduced)


def tiles(picture: UInt8, tiling: Tiling, colour: Colour, together: Together = in_turn) -> list[UInt8]:
    """The tiles of the picture, H x W x 3 uint8 RGB, in `colour`; black beyond its edge.

    `together`: makes the calls that do parts of it.
    """
    high, wide = tiling.frame
    scaled = _lanczos(picture, *tiling.size, together)
    cut: list[UInt8] = []
    for top, left in tiling.starts:
        part = scaled[top : top + high, left : left + wide]
        tile = np.zeros((high, wide, 3), np.uint8)
        shown = tile[: part.shape[0], : part.shape[1]]
        if colour == "BGR":
            cv2.cvtColor(part, cv2.COLOR_RGB2BGR, shown)
        else:
            shown[:] = part
        cut.append(tile)
    return cut


def _scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    return _to_multiple(int(height * scale)), _to_multiple(int(width * scale))


def _to_multiple(side: int) -> int:
    return max(DETECTION_MULTIPLE, round(side / DETECTION_MULTIPLE) * DETECTION_MULTIPLE)


def _lanczos(picture: UInt8, height: int, width: int, together: Together) -> UInt8:
    """The picture, H x W x 3 uint8, resized as the official worker does with Pillow.

    One far above the target is first averaged down: resampling holds a copy of its own.
    """
    high, wide = picture.shape[:2]
    coarse = tuple(_COARSE * new if old >= 2 * _COARSE * new else old for old, new in ((high, height), (wide, width)))
    if coarse != (high, wide):
        picture = np.asarray(cv2.resize(picture, coarse[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return resized(picture, height, width, together)
