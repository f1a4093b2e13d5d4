"""Upright crops of the faces in a folder of photos, as the recogniser will see them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from ml_target.diagnostics.compare.photos import Photo
from ml_target.errors import EngineFault, TooLarge, UnusableInput
from ml_target.imaging.picture import decode
from ml_target.log.trace import Trace
from ml_target.remedies import check_file
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.faces.align import align
from ml_target.tasks.faces.detect import FaceDetector
from ml_target.tensors import Float32, UInt8

MIN_SCORE = 0.7
"""Immich's default."""

SHARP = 0.01
"""The least variance of a crop's Laplacian, as a share of the variance of its greys, whatever the light.

Of the bundled faces, 130 pixels wide, it is 0.12 to 0.17; of the same photo blurred by a Gaussian of 2 pixels 0.010 to
0.022, of 3 pixels 0.005 to 0.012; of the photo made smaller, with faces of 84 pixels, 0.06 to 0.09.
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`count`: crops in all; `a_photo`: at most of one photo; `side`: pixels of a face's shorter side at least."""

    count: int
    a_photo: int
    side: int


@dataclass(slots=True)
class Collected:
    """`crops`: 112 x 112 x 3 uint8 RGB. The rest are numbers of photos, and of faces that were left out."""

    crops: list[UInt8] = field(default_factory=list)
    photos: int = 0
    with_crops: int = 0
    unreadable: int = 0
    small: int = 0
    blurred: int = 0
    beyond: int = 0


async def collect(
    photos: Sequence[Photo],
    detector: FaceDetector,
    pool: ThreadPool,
    wanted: Wanted,
    max_pixels: int,
    step: Callable[[Collected], None],
) -> Collected:
    """Looks at the photos, one at a time, until there are enough crops; `step` is called after each.

    The order is mixed, so that a large folder is sampled all over, and it depends on the photos' names alone: the same
    folder gives the same crops. Raises EngineFault.
    """
    found = Collected()
    for photo in sorted(photos, key=lambda each: hashlib.sha256(each.name.encode("utf-8", "surrogateescape")).digest()):
        if len(found.crops) >= wanted.count:
            break
        found.photos += 1
        try:
            picture = await pool.run(decode, photo.read(), max_pixels)
        except (OSError, UnusableInput, TooLarge):
            found.unreadable += 1
        else:
            await _add(picture, detector, pool, wanted, found)
        step(found)
    return found


async def _add(picture: UInt8, detector: FaceDetector, pool: ThreadPool, wanted: Wanted, found: Collected) -> None:
    """The crops of one photo, of its best faces first."""
    faces = await detector.find(picture, MIN_SCORE, Trace())
    sides = np.minimum(*(faces.boxes[:, 2:] - faces.boxes[:, :2]).T)
    large = faces.landmarks[sides >= wanted.side]
    found.small += len(sides) - len(large)
    crops = await pool.run(_upright, picture, large)
    sharp = [crop for crop in crops if sharpness(crop) >= SHARP]
    found.blurred += len(crops) - len(sharp)
    taken = sharp[: min(wanted.a_photo, wanted.count - len(found.crops))]
    found.beyond += len(sharp) - len(taken)
    found.with_crops += bool(taken)
    found.crops += taken


def _upright(picture: UInt8, landmarks: Float32) -> list[UInt8]:
    try:
        return align(picture, landmarks) if len(landmarks) else []
    except ValueError as error:
        raise EngineFault(
            f"The face detector gave a face that cannot be turned upright ({error})", check_file()
        ) from error


def sharpness(crop: UInt8) -> float:
    """As `SHARP` has it; 0 for a crop of one colour. `crop`: H x W x 3 uint8 RGB."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    spread = float(grey.var())
    return float(cv2.Laplacian(grey, cv2.CV_64F).var()) / spread if spread else 0.0
