"""What the selfcheck is made of: bounds, measures, verdicts, and whether the samples hold what is said of them."""

import asyncio
import random
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from insightface_reference import InsightFace
from project import PROJECT
from rapidocr_reference import edits as reference_edits
from simulated_card import DETECTOR, EMBEDDER

from ml_target.catalogue.networks import PPOCRV5_MOBILE
from ml_target.config import Settings
from ml_target.diagnostics.checks import bounds, measures, samples
from ml_target.diagnostics.checks.bounds import Bound, least, most
from ml_target.diagnostics.checks.header import ALWAYS, LISTED
from ml_target.diagnostics.checks.output import as_text
from ml_target.diagnostics.checks.report import Report, content_of
from ml_target.diagnostics.checks.result import NEAR, Check, Figure, Gap, figures
from ml_target.diagnostics.checks.samples import FACE_BOXES, FACE_LANDMARKS, FINDS, LABELS, PARTS, SIZE, Samples, cell
from ml_target.engines.select import processor
from ml_target.errors import MissingFileError, ModelError
from ml_target.log.trace import Trace
from ml_target.remedies import command
from ml_target.runtime.assembly import Loader
from ml_target.runtime.place import place_of
from ml_target.scheduling.threads import ThreadPool
from ml_target.store import Store
from ml_target.tasks.ocr.reader import ReadOptions
from ml_target.tasks.ocr.task import OCR

NAN = float("nan")
ALL_BOUNDS = [
    (f"{group}.{key}", bound)
    for group in ("CLIP_VISUAL", "CLIP_TEXTUAL", "CLIP_SEARCH", "FACE_DETECTION", "FACE_RECOGNITION", "FACES",
                  "OCR_DETECTION", "OCR_RECOGNITION", "OCR")
    for key, bound in vars(bounds)[group].items()
]  # fmt: skip


# ---------------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    ("bound", "value", "verdict"),
    [
        (least("x", 0.9, 0.8), 0.9, "right"),
        (least("x", 0.9, 0.8), 0.899, "near"),
        (least("x", 0.9, 0.8), 0.8, "near"),
        (least("x", 0.9, 0.8), 0.799, "WRONG"),
        (most("x", 0.1, 0.2), 0.1, "right"),
        (most("x", 0.1, 0.2), 0.15, "near"),
        (most("x", 0.1, 0.2), 0.21, "WRONG"),
        (most("x", 0.1, 0.2), NAN, "WRONG"),
        (least("x", 0.9, 0.8), NAN, "WRONG"),
        (most("x", 0.1, 0.2), float("inf"), "WRONG"),
    ],
)
def test_verdicts_of_values(bound: Bound, value: float, verdict: str) -> None:
    assert bound.verdict(value) == verdict


@pytest.mark.parametrize(("name", "bound"), ALL_BOUNDS, ids=[name for name, _ in ALL_BOUNDS])
def test_near_is_wider_than_right(name: str, bound: Bound) -> None:
    assert bound.near < bound.right if bound.higher else bound.near > bound.right


def test_every_percentage_says_what_it_is_a_share_of() -> None:
    shares = [bound for _, bound in ALL_BOUNDS if "%" in bound.words(0.5)]
    assert len(shares) == 14
    for bound in shares:
        assert bound.words(0.5) == f"{bound.what} 50 % of {bound.of}"
        assert bound.of.startswith(("the ", "all ", "every ")), "a share of what"
    counted = {"recall", "precision", "known", "found", "cer", "known_cer", "boxes", "same_verdicts", "first_ten"}
    assert all(bound.of for name, bound in ALL_BOUNDS if name.rpartition(".")[2] in counted)


def test_the_bounds_are_those_of_the_contracts() -> None:
    """Model contracts, parity definition, the quantised column."""
    right = {name: bound.right for name, bound in ALL_BOUNDS}
    assert {
        "CLIP_VISUAL.cosine_mean": 0.95, "CLIP_VISUAL.cosine_least": 0.90, "CLIP_VISUAL.first_ten": 0.8,
        "CLIP_VISUAL.copies": 0.01, "CLIP_TEXTUAL.cosine_mean": 0.97, "CLIP_TEXTUAL.cosine_least": 0.93,
        "FACE_DETECTION.recall": 0.98, "FACE_DETECTION.precision": 0.98, "FACE_DETECTION.iou_mean": 0.95,
        "FACE_DETECTION.iou_p5": 0.90, "FACE_DETECTION.landmarks_mean": 0.025, "FACE_DETECTION.landmarks_p95": 0.05,
        "FACE_DETECTION.scores": 0.05, "FACE_RECOGNITION.cosine_mean": 0.95, "FACE_RECOGNITION.cosine_p5": 0.92,
        "FACES.cosine_mean": 0.92, "FACES.cosine_p5": 0.85, "FACES.same_verdicts": 0.99,
        "OCR_DETECTION.mask_iou": 0.95, "OCR.boxes": 0.97, "OCR_RECOGNITION.cer": 0.02, "OCR_RECOGNITION.scores": 0.03,
        "OCR.cer": 0.02, "OCR.scores": 0.03,
    }.items() <= right.items()  # fmt: skip


# --------------------------------------------------------------------- results


def figure(value: float) -> Figure:
    return Figure("x", value, least("cosine", 0.9, 0.8))


GAP = Gap("no twin", "fetch it")


@pytest.mark.parametrize(
    ("check", "verdict", "remedy"),
    [
        (Check("a", figures=(figure(1.0),)), "right", ""),
        (Check("a", figures=(figure(1.0), figure(0.85))), "near", NEAR),
        (
            Check("a", ("f.hef",), (figure(0.85), figure(0.5))),
            "WRONG",
            f"then delete f.hef, then {command('models fetch')}",
        ),
        (Check("a", figures=(figure(1.0),), gap=GAP), "not checked", "fetch it"),
        (Check("a", figures=(figure(0.85),), gap=GAP), "not checked", "fetch it"),
        (
            Check("a", ("f.hef",), (figure(0.1),), GAP),
            "WRONG",
            f"then delete f.hef, then {command('models fetch')}",
        ),
        (Check("a", fault="it broke"), "WRONG", command("doctor")),
        (Check("a"), "not checked", ""),
    ],
)
def test_verdict_and_remedy_of_a_check(check: Check, verdict: str, remedy: str) -> None:
    assert check.verdict == verdict
    assert remedy in check.remedy
    assert bool(remedy) == bool(check.remedy)


def test_a_missed_bound_is_told() -> None:
    assert figure(0.95).words == "cosine 0.95"
    assert figure(0.85).words == "cosine 0.85 (at least 0.9 is wanted)"
    differing = Figure("x", 0.0312, most("characters that differ:", 0.02, 0.05, of="the known words'"))
    assert differing.words == "characters that differ: 3.12 % of the known words' (at most 2 % is wanted)"
    with pytest.raises(AssertionError):
        figures(bounds.OCR, {"nonsense": 1.0})


@pytest.mark.parametrize(
    ("verdicts", "overall", "code", "summary"),
    [
        ([1.0, 1.0], "right", 0, "right: 2 right"),
        ([1.0, 0.85], "near", 0, "near: 1 right, 1 near"),
        ([0.1, 0.85, None], "WRONG", 1, "WRONG: 1 near, 1 WRONG, 1 not checked"),
        ([None], "not checked", 3, "NOTHING WAS CHECKED"),
        ([], "not checked", 3, "NOTHING WAS CHECKED"),
    ],
)
def test_the_overall_verdict(verdicts: list[float | None], overall: str, code: int, summary: str) -> None:
    checks = [Check("a", gap=GAP) if v is None else Check("a", ("f",), (figure(v),)) for v in verdicts]
    report = Report({"worker": "x"}, checks, [], True)
    assert (report.verdict, report.exit_code, report.summary) == (overall, code, summary)
    assert as_text(content_of(report)).endswith(f"\n{summary}")


def test_a_remedy_of_several_checks_is_printed_once() -> None:
    """Many lack the same files, and the commands that bring them are long."""
    gaps = [Gap("no twin", "fetch it"), Gap("no twin", "fetch it"), Gap("no card"), Gap("no twin", "fetch another")]
    report = Report({"worker": "x"}, [Check(f"clip.{n}", gap=gap) for n, gap in enumerate(gaps)], [], True)
    told = [line.strip() for line in as_text(content_of(report)).splitlines() if "->" in line]
    assert told == ["-> fetch it", "-> as above", "-> fetch another"]


def test_a_gap_of_an_error_has_its_fields() -> None:
    missing = MissingFileError("x.hef is not there", "run this.", "x.hef is missing")
    assert str(missing) == "x.hef is not there: run this."
    assert Gap.of(missing) == Gap("x.hef is not there", "run this.")
    assert Gap.of(ModelError("something else")) == Gap("something else")


PRIVATE = {
    "models_dir",
    "models_mirror",
    "hf_endpoint",
    "host",
    "hailort_dir",
    "hailort_source",
    "hailo_device_ids",
    "hailo_group_id",
    "page_hosts",
}
OF_THE_SERVER = {"port", "log_level", "keep_alive_s", "request_timeout_s", "max_upload_mb", "max_pixels", "max_waiting"}
OF_THE_SERVER |= {"memory_mb", "log_format", "models_fetch", "try_it"}


def test_every_setting_is_told_or_kept_back_on_purpose() -> None:
    assert set(LISTED) | PRIVATE | OF_THE_SERVER == {item.name for item in fields(Settings)}
    assert not set(LISTED) & PRIVATE
    assert set(ALWAYS) <= set(LISTED)


# -------------------------------------------------------------------- measures


def test_iou() -> None:
    box = (10.0, 10.0, 20.0, 30.0)
    assert measures.iou(box, box) == 1.0
    assert measures.iou(box, (15, 10, 25, 30)) == pytest.approx(1 / 3)
    assert measures.iou(box, (20, 10, 30, 30)) == 0.0
    assert measures.iou(box, (0, 0, 0, 0)) == 0.0
    assert measures.iou((5, 5, 5, 5), (5, 5, 5, 5)) == 0.0


def test_boxes_are_matched_once_the_best_first() -> None:
    ours = [(0, 0, 10, 10), (1, 0, 11, 10), (50, 50, 60, 60)]
    theirs = [(1, 0, 11, 10), (90, 90, 99, 99)]
    assert [(i, j) for i, j, _ in measures.match(ours, theirs, 0.5)] == [(1, 0)]
    assert measures.match([], theirs, 0.5) == []


def test_masks() -> None:
    a, b = np.array([True, True, False]), np.array([True, False, False])
    assert measures.mask_iou(a, b) == 0.5
    assert measures.mask_iou(~(a | True), ~(b | True)) == 0.0


def test_neighbours() -> None:
    rows = np.random.default_rng(0).normal(size=(24, 30)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert measures.same_neighbours(rows, rows) == 1.0
    assert 0.2 < measures.same_neighbours(rows, rows[::-1].copy()) < 0.7
    assert measures.same_neighbours(rows[:3], rows[:3]) == 1.0, "fewer than ten"


def test_edits_are_those_of_the_reference() -> None:
    chance = random.Random(5)
    for _ in range(200):
        a, b = ("".join(chance.choices("abcé ", k=chance.randrange(8))) for _ in range(2))
        assert measures.edits(a, b) == reference_edits(a, b)


def test_error_rates() -> None:
    assert measures.error_rate([("abc", "abc"), ("x", "xy")]) == pytest.approx(1 / 5)
    assert measures.error_rate([("nothing like it at all", "ab")]) == 1.0
    assert measures.error_rate([("", "")]) == 0.0
    assert measures.error_rate([("x", "")]) == 1.0


# --------------------------------------------------------------------- samples


def test_the_samples_are_where_the_package_takes_them_from() -> None:
    tomllib: Any = pytest.importorskip("tomllib", reason="Python 3.11 brings tomllib")
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["ml_target.diagnostics.checks"]
    packed = {file.name for pattern in patterns for file in samples.FOLDER.glob(pattern)}
    assert packed == {file.name for file in samples.FOLDER.iterdir() if file.suffix not in (".py", "")}
    assert {samples.BOARD.name, samples.LABELS_PAGE.name} <= packed
    assert sum((samples.FOLDER / name).stat().st_size for name in packed) < 250_000


def test_pictures_have_their_size_and_nothing_else_inside() -> None:
    loaded = Samples.load()
    assert loaded.board.shape == loaded.labels.shape == (SIZE[1], SIZE[0], 3)
    assert b"Exif" not in samples.BOARD.read_bytes()
    for left, top, right, bottom in PARTS.values():
        assert 0 <= left < right <= SIZE[0]
        assert 0 <= top < bottom <= SIZE[1]
    assert set(FINDS.values()) <= set(PARTS)
    assert len({picture.tobytes() for picture in loaded.gallery()}) == 2 * len(PARTS)
    assert [board.shape for board in loaded.boards()] == [(960, 1280, 3)] * 3 + [(480, 640, 3)]


@pytest.mark.slow  # InsightFace takes a second to import
def test_the_known_faces_are_those_that_insightface_finds(face_models: Path) -> None:
    reference = InsightFace(face_models / DETECTOR, face_models / EMBEDDER)
    found = reference.find(Samples.load().board, 0.7)
    order = np.argsort(found.boxes[:, 0])
    assert np.abs(found.boxes[order] - FACE_BOXES).max() < 1.5
    assert np.abs(found.landmarks[order] - FACE_LANDMARKS).max() < 1.0


@pytest.mark.slow
def test_the_known_words_are_those_that_are_read(wheel_models: Path) -> None:
    settings = Settings(engine="cpu", models_dir=wheel_models.resolve())
    place, host = place_of(processor(settings)), ThreadPool(1)
    loader = Loader(settings, Store(settings.models_dir), host, place, place)
    reader = loader.service(OCR.offer(PPOCRV5_MOBILE)).get()
    loaded, options = Samples.load(), ReadOptions(min_text_score=0.8)
    lines = [asyncio.run(reader.read(picture, options, Trace())) for picture in (loaded.board, loaded.labels)]
    host.close()
    place.arbiter.close()
    assert tuple(line.text for line in lines[0]) == samples.BOARD_LINES
    assert [line.text for line in lines[1]] == [label.text for label in LABELS]
    for number, line in enumerate(lines[1]):
        x, y = line.corners.mean(axis=0) * SIZE
        left, top, right, bottom = cell(number)
        assert left < x < right
        assert top < y < bottom


def test_strips_hold_the_labels_in_order() -> None:
    strips = list(Samples.load().strips())
    assert [text for text, _ in strips] == [label.text for label in LABELS]
    assert all(strip.shape[1] * 48 / strip.shape[0] <= 320 for _, strip in strips)
    assert all(not np.array_equal(a, b) for (_, a), (_, b) in pairwise(strips) if a.shape == b.shape)
