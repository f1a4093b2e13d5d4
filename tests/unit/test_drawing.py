"""Drawn pages: what was read can be read on them, and no label lies on a face or a line of text."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ml_target.diagnostics.drawing import FACE, draw
from ml_target.errors import UnusableInput
from ml_target.tasks.faces.finder import Face
from ml_target.tasks.ocr.reader import Line
from ml_target.tensors import UInt8


def face(*box: float) -> Face:
    """A face whose landmarks lie in its middle."""
    middle = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], np.float32)
    return Face((box[0], box[1], box[2], box[3]), 0.87, np.tile(middle, (5, 1)), np.zeros(512, np.float32))


def line(text: str, left: float, top: float, right: float, bottom: float, size: tuple[int, int]) -> Line:
    places = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return Line(text, np.array([[x / size[0], y / size[1]] for x, y in places], np.float32), 0.9, 0.9)


def drawn(picture: UInt8, faces: list[Face], lines: list[Line], folder: Path) -> UInt8:
    draw(picture, faces, lines, folder / "out.png")
    with Image.open(folder / "out.png") as image:
        return np.asarray(image)


def dense_page(rows: int = 30) -> tuple[UInt8, list[Line]]:
    """Lines of text that stand close together, as on a printed page."""
    size, height = (600, rows * 20), 18
    image = Image.new("RGB", size, "#f4f4f4")
    canvas, font = ImageDraw.Draw(image), ImageFont.load_default(size=14)
    lines = []
    for row in range(rows):
        text = f"line {row}: the quick brown fox jumps over the lazy dog"
        canvas.text((20, row * 20 + 1), text, fill="#101010", font=font)
        lines.append(line(text, 18, row * 20, 420, row * 20 + height, size))
    return np.asarray(image), lines


def test_a_dense_page_keeps_every_line(tmp_path: Path) -> None:
    """Inside a line's box nothing is drawn but its own outline, and beside the page every line stands by itself."""
    page, lines = dense_page()
    out = drawn(page, [], lines, tmp_path)
    height, width = page.shape[:2]
    assert out.shape == (height, 2 * width, 3)
    ink = (out[:, width + 4 :].astype(int).sum(axis=2) < 300).any(axis=1)
    for row in range(30):
        inside = slice(row * 20 + 3, row * 20 + 15)
        assert np.array_equal(out[inside, 22:415], page[inside, 22:415]), f"line {row} is covered"
        assert ink[row * 20 + 4 : row * 20 + 14].any(), f"line {row} is not on the page beside"
        assert not ink[row * 20 + 18 : row * 20 + 20].any(), "and does not run into the next"


def test_scores_of_faces_cover_neither_text_nor_faces(tmp_path: Path) -> None:
    size = (600, 400)
    picture = np.full((400, 600, 3), 255, np.uint8)
    faces = [face(100, 60, 180, 160), face(190, 60, 270, 160), face(100, 170, 180, 270)]
    lines = [line("above", 90, 30, 280, 58, size)]
    out = drawn(picture, faces, lines, tmp_path)[:, :600]
    orange = (out == np.array([int(FACE[n : n + 2], 16) for n in (1, 3, 5)])).all(axis=2)
    assert not orange[32:57, 92:279].any(), "the line above two of the faces stays free"
    for each in faces:
        x1, y1, x2, y2 = (round(n) for n in each.box)
        assert not orange[y1 + 25 : y2 - 25, x1 + 4 : x2 - 4].any()
    rows = np.flatnonzero(orange.any(axis=1))
    assert rows.min() >= 58, "each score has found another place"
    solid = sum(orange[y : y + 10, x : x + 20].mean() > 0.5 for y in range(0, 390, 10) for x in range(0, 580, 20))
    assert solid >= 3, "and every face has its score"


@pytest.mark.parametrize("box", [(-20, -20, 30, 30), (580, 380, 640, 440), (0, 0, 600, 400), (50, 50, 50, 50)])
def test_a_face_at_the_edge_has_its_score_inside(box: tuple[float, ...], tmp_path: Path) -> None:
    out = drawn(np.full((400, 600, 3), 255, np.uint8), [face(*box)], [], tmp_path)
    assert out.shape == (400, 600, 3)
    assert ((out == [0xFF, 0x9F, 0x1C]).all(axis=2)).sum() > 100


def test_a_wide_picture_has_its_page_below(tmp_path: Path) -> None:
    picture = np.full((100, 400, 3), 255, np.uint8)
    out = drawn(picture, [], [line("panorama", 40, 30, 200, 60, (400, 100))], tmp_path)
    assert out.shape == (200, 400, 3)
    assert (out[100 + 30 : 100 + 60, 40:200].sum(axis=2) < 300).any()
    assert (out[100 + 65 :].sum(axis=2) > 600).all()


def test_a_tall_line_runs_down_as_it_was_read(tmp_path: Path) -> None:
    picture = np.full((400, 400, 3), 255, np.uint8)
    out = drawn(picture, [], [line("EXIT NORTH GATE", 50, 50, 90, 350, (400, 400))], tmp_path)
    ink = out[:, 404:].sum(axis=2) < 300
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    assert rows.min() >= 50
    assert rows.max() <= 350
    assert rows.max() - rows.min() > 200
    assert columns.min() + 4 >= 46
    assert columns.max() + 4 <= 90


@pytest.mark.parametrize("text", [".", "字", "\u200b", "W" * 400])
def test_any_text_can_be_drawn(text: str, tmp_path: Path) -> None:
    picture = np.full((60, 60, 3), 255, np.uint8)
    for corners in ((10, 10, 50, 20), (10, 10, 10, 10), (-5, -5, 70, 70)):
        assert drawn(picture, [], [line(text, *corners, (60, 60))], tmp_path).shape == (60, 120, 3)


def test_a_drawing_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match=r"cannot be written .* Name a \.jpg or \.png"):
        draw(np.zeros((8, 8, 3), np.uint8), [], [], tmp_path / "none" / "out.png")
