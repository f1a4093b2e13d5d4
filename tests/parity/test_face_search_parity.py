"""Faces beyond the letterbox on real photos: what the settings of FACE_SEARCH add."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import parity_table as parity
import pytest
from pictures import read_rgb
from remembered import Remembered

from ml_target.catalogue.networks import SCRFD_2_5G
from ml_target.catalogue.types import FaceDetectionMode
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.log.trace import Trace
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.faces.detect import FaceDetector
from ml_target.tasks.faces.scrfd import Detections
from ml_target.tasks.faces.views import tiny_views
from ml_target.tensors import UInt8

PEOPLE = [f"person{n}_{side}.jpg" for n in range(6) for side in "ab"]
SMALL = 22
"""Pixels of a face in a crowd on a preview of 1920 x 1440: seven in the letterbox, eighteen in a tile."""
Find = Callable[[FaceDetectionMode, UInt8], Detections]


@pytest.fixture(scope="module")
def find(face_models: Path) -> Iterator[Find]:
    host, pool = ThreadPool(1), Arbiter(1)
    # Many views are looked at more than once: the whole picture in every mode, grey parts of made-up pictures.
    loaded = Remembered(OnnxEngine(threads=2).open(face_models / "scrfd_2.5g_bnkps.onnx", SCRFD_2_5G))
    model = Model(SCRFD_2_5G, pool.queue(loaded, SCRFD_2_5G.name), Provenance("scrfd", "", "cpu"))
    yield lambda mode, picture: asyncio.run(FaceDetector(model, host, 500, mode).find(picture, 0.7, Trace()))
    host.close()
    pool.close()


@pytest.fixture(scope="module")
def people(photos: Path, find: Find) -> list[tuple[UInt8, tuple[int, int, int, int]]]:
    """Twelve photos and the box of the face in each."""
    found = [(picture := read_rgb(photos / name), find("official", picture).boxes[0]) for name in PEOPLE]
    return [(picture, tuple(round(float(n)) for n in box)) for picture, box in found]  # type: ignore[misc]


def test_faces_that_fill_the_picture(find: Find, people: list[tuple[UInt8, tuple[int, int, int, int]]]) -> None:
    """Cut to the face itself: nothing to see for the letterbox, as for the official worker."""
    counts = dict.fromkeys(("official", "close", "both"), 0)
    for picture, (x1, y1, x2, y2) in people:
        shown = np.ascontiguousarray(picture[max(0, y1) : y2, max(0, x1) : x2])
        for mode in counts:
            counts[mode] += len(find(mode, shown).scores) == 1  # type: ignore[arg-type]
    parity.record(
        "FACE_SEARCH=close",
        "faces that fill the picture (official)",
        f"{counts['close']} of {len(people)} ({counts['official']})",
        "≥ 10",
    )
    assert counts["official"] <= 4
    assert counts["close"] >= 10
    assert counts["both"] >= counts["close"]


@pytest.fixture(scope="module")
def crowd(people: list[tuple[UInt8, tuple[int, int, int, int]]]) -> UInt8:
    """Ninety-six heads, smaller than the letterbox can show, on one picture."""
    whole = np.full((1440, 1920, 3), 120, np.uint8)
    for n in range(96):
        picture, (x1, y1, x2, y2) = people[n % len(people)]
        margin = (x2 - x1) // 2
        head = picture[max(0, y1 - margin) : y2 + margin, max(0, x1 - margin) : x2 + margin]
        small = cv2.resize(head, (2 * SMALL, 2 * SMALL), interpolation=cv2.INTER_AREA)
        top, left = 60 + 170 * (n // 12), 40 + 155 * (n % 12)
        whole[top : top + 2 * SMALL, left : left + 2 * SMALL] = small
    return whole


def test_tiny_faces_in_a_large_picture(find: Find, crowd: UInt8) -> None:
    official, tiny = find("official", crowd), find("tiny", crowd)
    parity.record(
        "FACE_SEARCH=tiny",
        f"faces of {SMALL} px (official)",
        f"{len(tiny.scores)} of 96 ({len(official.scores)})",
        "≥ 80",
    )
    assert len(official.scores) <= 5
    assert 80 <= len(tiny.scores) <= 96
    assert (np.diff(tiny.scores) <= 0).all()
    middles = (tiny.boxes[:, :2] + tiny.boxes[:, 2:]) / 2 - (40 + SMALL, 60 + SMALL)
    assert np.abs(middles - np.round(middles / (155, 170)) * (155, 170)).max() < SMALL / 2, "each on a head"


@pytest.mark.parametrize("mode", ["close", "tiny", "both"])
def test_what_the_letterbox_finds_stays_as_it_is(find: Find, photos: Path, mode: FaceDetectionMode) -> None:
    for name in ("faces_four.jpg", "faces_nine_rolled.jpg", "astronaut.jpg"):
        picture = read_rgb(photos / name)
        official, more = find("official", picture), find(mode, picture)
        rows = [np.flatnonzero((more.boxes == box).all(axis=1)) for box in official.boxes]
        assert all(len(row) == 1 for row in rows), name
        assert np.array_equal(more.landmarks[np.concatenate(rows)], official.landmarks)
        assert len(more.scores) == len(official.scores), "no face is found twice"


@pytest.mark.parametrize("mode", ["close", "tiny", "both"])
def test_pictures_of_nobody_stay_empty(find: Find, photos: Path, mode: FaceDetectionMode) -> None:
    for name in ("coffee.jpg", "rocket.jpg"):
        assert not len(find(mode, read_rgb(photos / name)).scores)


def test_a_face_at_a_border_of_tiles_is_found_once(
    find: Find, people: list[tuple[UInt8, tuple[int, int, int, int]]]
) -> None:
    picture, (x1, y1, x2, y2) = people[0]
    margin = (x2 - x1) // 2
    head = cv2.resize(picture[max(0, y1 - margin) : y2 + margin, max(0, x1 - margin) : x2 + margin], (80, 80))
    views = tiny_views(np.zeros((1440, 1920, 3), np.uint8), 640, 640)
    border = int(views[1].left / views[1].scale)
    for shift in (-80, -60, -40, -20, 0, 20):
        whole = np.full((1440, 1920, 3), 120, np.uint8)
        whole[1000:1080, border + shift : border + shift + 80] = head
        assert len(find("tiny", whole).scores) == 1, shift
