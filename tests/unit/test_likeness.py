"""What `compare` concludes of two workers' answers: each verdict on a case made for it, and what is no answer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from spaces import WIDTH, moved, space, unit

from ml_target.diagnostics.compare import faces, search, text
from ml_target.diagnostics.compare.answers import SeenFace, SeenLine, UnusableAnswer
from ml_target.diagnostics.compare.answers import faces as read_faces
from ml_target.diagnostics.compare.answers import lines as read_lines
from ml_target.diagnostics.compare.answers import vector as read_vector
from ml_target.diagnostics.compare.comparison import Comparison, Likeness
from ml_target.tensors import Float32

PHOTOS, QUERIES = 100, 40


def found(ours: Float32, theirs: Float32, ours_asked: Float32, theirs_asked: Float32) -> Comparison:
    return search.compare(list(ours), list(theirs), (list(ours_asked), list(theirs_asked)))


# -------------------------------------------------------------------- search


@pytest.mark.parametrize(("cosine", "likeness"), [(0.9995, Likeness.SAME), (0.97, Likeness.ALIKE)])
def test_vectors_that_moved_a_little(cosine: float, likeness: Likeness) -> None:
    theirs, asked = space(1, PHOTOS), space(2, QUERIES)
    comparison = found(moved(theirs, cosine), theirs, moved(asked, cosine, 4), asked)
    assert comparison.likeness is likeness, comparison
    assert {f.key: round(f.value, 4) for f in comparison.measures}["cosine_mean"] == cosine


def test_a_duplicate_that_is_judged_differently_is_told() -> None:
    theirs, asked = space(1, PHOTOS), space(2, QUERIES)
    theirs[1] = moved(theirs[:1], 1 - 0.9 * search.DUPLICATE)[0]
    ours = theirs.copy()
    ours[1] = moved(theirs[:1], 1 - 1.1 * search.DUPLICATE)[0]
    comparison = found(ours, theirs, asked, asked)
    measures = {f.key: f.value for f in comparison.measures}
    assert (measures["pairs"], measures["pairs_differ"]) == (1, 1)
    assert comparison.likeness is Likeness.ALIKE
    assert "Duplicate Detection" in comparison.advice


def test_another_space() -> None:
    comparison = found(space(5, PHOTOS), space(1, PHOTOS), space(6, QUERIES), space(2, QUERIES))
    assert comparison.likeness is Likeness.OTHER
    assert "Smart Search > All" in comparison.advice


def test_pictures_alike_but_queries_of_another_space() -> None:
    """A worker whose text tower is wrong: its pictures say nothing about its searches."""
    theirs = space(1, PHOTOS)
    comparison = found(moved(theirs, 0.9995), theirs, space(6, QUERIES), space(2, QUERIES))
    assert comparison.likeness is Likeness.OTHER
    assert "Smart Search > All would change nothing" in comparison.advice


@pytest.mark.parametrize("old", [0, 1])
def test_a_duplicate_that_only_a_mixed_index_misses_is_told_whichever_of_the_two_is_old(old: int) -> None:
    theirs, asked = space(1, PHOTOS), space(2, QUERIES)
    theirs[1] = moved(theirs[:1], 1 - 0.7 * search.DUPLICATE)[0]
    ours = theirs.copy()
    ours[1 - old] = unit(theirs[1 - old] + 0.4 * (theirs[1 - old] - theirs[old]))
    ours[old] = unit(theirs[old] + 0.4 * (theirs[1 - old] - theirs[old]))
    comparison = found(ours, theirs, asked, asked)
    measures = {f.key: f.value for f in comparison.measures}
    assert (measures["pairs"], measures["pairs_differ"], measures["pairs_differ_mixed"]) == (1, 0, 1)
    assert comparison.likeness is Likeness.ALIKE


def test_other_widths_cannot_share_an_index() -> None:
    comparison = search.compare([np.ones(768, np.float32)], [np.ones(512, np.float32)], ([], []))
    assert comparison.likeness is Likeness.OTHER
    assert "768" in comparison.why
    assert "512" in comparison.why


def test_few_photos_give_no_verdict_on_ranking() -> None:
    theirs, asked = space(1, search.ENOUGH - 1), space(2, QUERIES)
    comparison = found(theirs, theirs, asked, asked)
    assert comparison.likeness is Likeness.OPEN
    assert str(search.ENOUGH) in comparison.why


def test_without_queries_there_is_no_verdict() -> None:
    theirs = space(1, PHOTOS)
    assert found(theirs, theirs, theirs[:0], theirs[:0]).likeness is Likeness.OPEN


# --------------------------------------------------------------------- faces


def people(count: int, seed: int, cosine: float = 1.0) -> list[list[SeenFace]]:
    """One face a photo, two photos a person."""
    persons = unit(np.random.default_rng(seed).normal(size=(count // 2, WIDTH)))
    vectors = moved(moved(np.repeat(persons, 2, axis=0), 0.9, 9), cosine, 10)
    return [[SeenFace((0.2, 0.2, 0.6, 0.7), 0.9, vector)] for vector in vectors]


def beside(face: SeenFace) -> SeenFace:
    return SeenFace((0.7, 0.7, 0.9, 0.9), face.score, face.vector)


@pytest.mark.parametrize(
    ("ours", "likeness"),
    [
        (people(40, 1, 0.99), Likeness.SAME),
        (people(40, 1, 0.85), Likeness.ALIKE),
        (people(40, 2), Likeness.OTHER),
        ([*people(40, 1)[:30], *[[]] * 10], Likeness.ALIKE),
        ([[each[0], beside(each[0])] for each in people(40, 1)], Likeness.ALIKE),
    ],
    ids=["moved little", "moved", "another recogniser", "a quarter not found", "twice as many found"],
)
def test_faces(ours: list[list[SeenFace]], likeness: Likeness) -> None:
    """Names are lost by another recogniser alone, not by another detector."""
    comparison = faces.compare(ours, people(40, 1), 0.5)
    assert comparison.likeness is likeness, comparison
    assert ("Reset" in comparison.advice) == (likeness is Likeness.OTHER)
    assert ("Refresh" in comparison.advice) == (sum(map(len, ours)) != 40)


def test_where_no_face_is_found_by_both_nobody_is_told_to_delete_names() -> None:
    """The one that finds nothing may be broken."""
    comparison = faces.compare([[]] * 40, people(40, 1), 0.5)
    assert comparison.likeness is Likeness.OPEN
    assert "before anything is run in Immich" in comparison.advice


def test_faces_of_several_widths_are_told_apart() -> None:
    short = SeenFace((0.2, 0.2, 0.6, 0.7), 0.9, np.ones(3, np.float32))
    both = [[each[0]] for each in people(40, 1)] + [[short]]
    assert "different widths" in faces.compare(both, both, 0.5).why


def test_few_faces_give_no_verdict() -> None:
    assert faces.compare(people(4, 1), people(4, 1), 0.5).likeness is Likeness.OPEN
    assert faces.compare([[]], [[]], 0.5).likeness is Likeness.OPEN


# ---------------------------------------------------------------------- text


def pages(wrong: int, missing: int = 0) -> list[list[SeenLine]]:
    """Forty lines of ten letters, of which every page's first `wrong` letters are others."""
    lines = [SeenLine((0.1, n / 50, 0.9, n / 50 + 0.015), "x" * wrong + "abcdefghij"[wrong:]) for n in range(40)]
    return [lines[missing:]]


@pytest.mark.parametrize(
    ("ours", "likeness"),
    [
        (pages(0), Likeness.SAME),
        (pages(1), Likeness.ALIKE),
        (pages(0, missing=4), Likeness.ALIKE),
        (pages(3), Likeness.OTHER),
        (pages(0, missing=20), Likeness.OTHER),
    ],
)
def test_text(ours: list[list[SeenLine]], likeness: Likeness) -> None:
    assert text.compare(ours, pages(0)).likeness is likeness


def test_little_text_gives_no_verdict() -> None:
    assert text.compare([[]], [[]]).likeness is Likeness.OPEN
    assert text.compare([[]], [pages(0)[0][:5]]).likeness is Likeness.OPEN
    assert text.compare([[]], pages(0)).likeness is Likeness.OTHER


# ------------------------------------------------------------------- answers

SIZE = {"imageWidth": 100, "imageHeight": 50}
BOX = {"x1": 10, "y1": 5, "x2": 50.0, "y2": 45}
FACE = {"boundingBox": BOX, "embedding": "[1]", "score": 1}


@pytest.mark.parametrize(
    ("read", "answer"),
    [
        (read_vector, {}),
        (read_vector, {"clip": [0.1, 0.2]}),
        (read_vector, {"clip": "[0.1, NaN]"}),
        (read_vector, {"clip": "[0, 0]"}),
        (read_vector, {"clip": "[]"}),
        (read_vector, {"clip": "{}"}),
        (read_vector, {"clip": "[1e300, 1]"}),
        (read_faces, {"facial-recognition": [FACE], "imageWidth": "nan", "imageHeight": 50}),
        (read_faces, {"facial-recognition": [{**FACE, "boundingBox": {**BOX, "x2": float("inf")}}], **SIZE}),
        (read_faces, {"facial-recognition": [FACE] * 2_001, **SIZE}),
        (read_lines, {"ocr": {"text": ["a"] * 2_001, "box": [0.1] * 8 * 2_001}}),
        (read_lines, {"ocr": {"text": ["a" * 2_001], "box": [0.1] * 8}}),
        (read_lines, {"ocr": {"text": [7], "box": [0.1] * 8}}),
        (read_faces, {**SIZE}),
        (read_faces, {"facial-recognition": [{"boundingBox": {}, "embedding": "[1]", "score": 1}], **SIZE}),
        (read_faces, {"facial-recognition": [{"score": 1}]}),
        (read_lines, {"ocr": {"text": ["a"], "box": [0.1] * 7}}),
        (read_lines, {"ocr": []}),
    ],
)
def test_what_immich_could_not_store_is_no_answer(read: Callable[[Any], object], answer: dict[str, Any]) -> None:
    with pytest.raises(UnusableAnswer):
        read(answer)


def test_boxes_are_shares_of_the_picture() -> None:
    (face,) = read_faces({"facial-recognition": [{"boundingBox": BOX, "embedding": "[3,4]", "score": 0.9}], **SIZE})
    assert face.box == (0.1, 0.1, 0.5, 0.9)
    assert face.vector.tolist() == pytest.approx([0.6, 0.8])
