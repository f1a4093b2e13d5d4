"""Faces beyond the letterbox: off by default, and what the settings add on real photos."""

import asyncio

import numpy as np
import pytest
from scripted import Scripted

from ml_target.catalogue.networks import SCRFD_2_5G
from ml_target.catalogue.types import FaceDetectionMode
from ml_target.engines import Intake
from ml_target.log.trace import Trace
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.faces.detect import FaceDetector
from ml_target.tasks.faces.scrfd import Detections, combine
from ml_target.tasks.faces.views import OVERLAP, TILES, View, close_view, tiny_views
from ml_target.tensors import Array, Outputs, Tensor, UInt8

# -------------------------------------------------------------------- views


def test_views_cover_the_picture() -> None:
    for shape in ((1440, 1920), (3000, 4000), (1000, 900), (1000, 9000)):
        picture = np.full((*shape, 3), 200, np.uint8)
        views = tiny_views(picture, 640, 640)
        assert 1 < len(views) <= TILES
        seen = np.zeros(views[0].size, bool)
        for view in views:
            assert view.frame.shape == (640, 640, 3)
            assert view.largest == OVERLAP
            seen[view.top : view.top + 640, view.left : view.left + 640] = True
        assert seen.all()
        assert views[0].scale <= 1


@pytest.mark.parametrize("shape", [(640, 640), (300, 500), (700, 820)])
def test_small_pictures_need_no_tiles(shape: tuple[int, int]) -> None:
    assert tiny_views(np.zeros((*shape, 3), np.uint8), 640, 640) == []


def test_the_close_view_is_half_the_letterbox() -> None:
    view = close_view(np.full((300, 600, 3), 255, np.uint8), 640, 640)
    assert view.frame[:160, :320].all()
    assert not view.frame[160:].any()
    assert not view.frame[:, 320:].any()
    assert view.scale == pytest.approx(320 / 600)
    assert view.whole(np.array([[-50, -50, 900, 900]], np.float32)).all()


def counted(view: View, *boxes: tuple[float, float, float, float]) -> list[bool]:
    """Which of the boxes, left, top, right, bottom in frame pixels of the whole scaled picture, count in the view."""
    return view.whole(np.array(boxes, np.float32) / np.float32(view.scale)).tolist()


def tile(left: int, top: int, largest: float = float("inf")) -> View:
    """100 x 100 of a picture of 300 x 260 pixels, all at half its size."""
    return View(np.zeros((100, 100, 3), np.uint8), 0.5, left, top, (260, 300), largest)


def test_a_tile_counts_no_face_that_its_border_with_a_neighbour_cuts() -> None:
    """From column 70 to 170 and from row 80 to 180 of the scaled picture, with neighbours all around."""
    inside = (72, 82, 168, 178)
    left, top, right, bottom = (70.5, 90, 110, 130), (90, 80.5, 130, 120), (130, 90, 169.5, 130), (90, 130, 130, 179.5)
    assert counted(tile(70, 80), inside, left, top, right, bottom) == [True, False, False, False, False]
    beyond = [(60, 90, 110, 130), (90, 60, 130, 120), (130, 90, 190, 130), (90, 130, 130, 190)]
    assert not any(counted(tile(70, 80), *beyond))


def test_a_tile_counts_faces_that_only_the_border_of_the_picture_cuts() -> None:
    left, top, right, bottom = (-9, 90, 40, 130), (90, -9, 130, 40), (260, 90, 309, 130), (90, 220, 130, 269)
    assert counted(tile(0, 80), left) == [True]
    assert counted(tile(70, 0), top) == [True]
    assert counted(tile(200, 80), right) == [True]
    assert counted(tile(70, 160), bottom) == [True]
    corner = (-9, -9, 99.5, 40)  # reaches the neighbour on the right, too
    assert counted(tile(0, 0), corner, (-9, -9, 40, 99.5), (-9, -9, 40, 40)) == [False, False, True]


def test_a_tile_counts_faces_up_to_the_largest_and_however_small() -> None:
    exact, wide, high, dot = (80, 90, 120, 100), (80, 90, 121, 100), (80, 90, 90, 131), (80, 90, 81, 91)
    assert counted(tile(70, 80, largest=40), exact, wide, high, dot) == [True, False, False, True]


@pytest.mark.parametrize(("aspect", "least"), [(1, 71), (4 / 3, 53), (16 / 9, 40), (3, 37), (6.6, 19), (20, 19)])
def test_how_large_the_letterbox_shows_what_tiles_leave_to_it(aspect: float, least: int) -> None:
    """The figures that OVERLAP gives."""
    high, wide = 1440, round(1440 * aspect)
    views = tiny_views(np.broadcast_to(np.uint8(0), (high, wide, 3)), 640, 640)
    assert int(views[0].largest / views[0].scale * 640 / wide + 0.01) == least


# ------------------------------------------------------- made-up detections


def face(score: float, left: float = 2, right: float = 2) -> Outputs:
    """What SCRFD says of a face in a frame of 640: so many strides of 16 to the left and right of column 592."""
    outputs: dict[str, Tensor] = {}
    for stride in (8, 16, 32):
        cells = 640 // stride
        outputs[f"score_{stride}"] = Tensor(np.zeros((cells, cells, 2), np.float32))
        outputs[f"box_{stride}"] = Tensor(np.full((cells, cells, 8), 2, np.float32))
        outputs[f"kps_{stride}"] = Tensor(np.zeros((cells, cells, 20), np.float32))
    outputs["score_16"].values[10, 37, 0] = score
    outputs["box_16"].values[10, 37, [0, 2]] = left, right
    return outputs


def detect(mode: FaceDetectionMode, picture: UInt8, *answers: Outputs) -> tuple[Detections, Scripted]:
    """What is found when the frames are answered in this order, the last answer for all that follow."""
    waiting = list(answers)

    def answer(frame: Array) -> Outputs:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    host, pool = ThreadPool(1), Arbiter(1)
    network = Scripted(Intake((640, 640, 3), "uint8"), answer)
    model = Model(SCRFD_2_5G, pool.queue(network, SCRFD_2_5G.name), Provenance("made up", "", "scripted"))
    found = asyncio.run(FaceDetector(model, host, 500, mode).find(picture, 0.7, Trace()))
    host.close()
    pool.close()
    return found, network


def test_a_close_look_is_taken_only_where_the_letterbox_shows_nobody() -> None:
    picture = np.full((640, 640, 3), 255, np.uint8)
    found, network = detect("close", picture, face(0.8), face(0.9))
    assert found.scores.tolist() == pytest.approx([0.8])
    assert len(network.seen) == 1
    assert network.seen[0].all(), "the letterbox, not the half one"
    found, network = detect("close", picture, face(0.0), face(0.9))
    assert found.scores.tolist() == pytest.approx([0.9])
    assert [bool(frame.all()) for frame in network.seen] == [True, False]
    assert found.boxes[0].tolist() == pytest.approx([1120, 256, 1248, 384]), "twice as far in the picture"


def test_both_takes_no_close_look_either_where_the_letterbox_shows_somebody() -> None:
    picture = np.full((1440, 1920, 3), 255, np.uint8)
    assert len(detect("both", picture, face(0.8), face(0.0))[1].seen) == 1 + 6
    assert len(detect("both", picture, face(0.0))[1].seen) == 2 + 6
    assert len(detect("official", picture, face(0.0))[1].seen) == 1


def test_a_face_cut_by_a_border_of_tiles_is_left_to_the_neighbour() -> None:
    """Every tile shows a face; where it reaches the right border, only the tiles without a neighbour there count."""
    picture = np.full((1440, 1920, 3), 255, np.uint8)  # 1536 x 1152 in tiles: two rows of three
    whole, _ = detect("tiny", picture, face(0.0), face(0.9, right=2))
    assert sorted(whole.boxes[:, 0]) == pytest.approx(sorted(2 * [700, 1260, 1820]))
    cut, _ = detect("tiny", picture, face(0.0), face(0.9, right=3))
    assert cut.boxes[:, 0].tolist() == pytest.approx([1820, 1820])
    assert cut.boxes[:, 2].tolist() == pytest.approx([1920, 1920])
    large, _ = detect("tiny", picture, face(0.0), face(0.9, left=7, right=2))
    assert not len(large.scores), "144 pixels: the letterbox shows it large enough"


# ------------------------------------------------------------------ combine


def detections(*rows: tuple[float, float, float]) -> Detections:
    """Faces of 10 pixels: left, top, score."""
    boxes = np.array([(x, y, x + 10, y + 10) for x, y, _ in rows], np.float32).reshape(-1, 4)
    return Detections(boxes, np.array([s for *_, s in rows], np.float32), np.zeros((len(rows), 5, 2), np.float32))


def test_the_first_view_wins_over_better_scores() -> None:
    first, more = detections((0, 0, 0.7), (50, 0, 0.9)), [detections((1, 1, 0.99), (100, 0, 0.8))]
    found = combine(first, [*more, detections((101, 0, 0.85))], 10)
    assert found.boxes[:, 0].tolist() == [50, 101, 0]
    assert found.scores.tolist() == pytest.approx([0.9, 0.85, 0.7])


def test_the_limit_cuts_the_weakest() -> None:
    found = combine(detections((0, 0, 0.7)), [detections((50, 0, 0.9), (100, 0, 0.8))], 2)
    assert found.scores.tolist() == pytest.approx([0.9, 0.8])
    assert found.unseen == 1
    assert combine(detections((0, 0, 0.7)), [detections()], 2).unseen == 0
