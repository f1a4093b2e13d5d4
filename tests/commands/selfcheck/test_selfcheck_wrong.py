"""The selfcheck on wrong files: other weights, other colours, noise, nothing."""

from pathlib import Path
from typing import Any

import pytest
from hailo_sim.build import faces, fingerprint
from selfcheck_models import onnx_path, other_weights, swap_colours, write_hef
from selfcheck_run import CHECKS, CLIP, FACES, OCR, Check, nothing
from simulated_card import hef_path

from ml_target.catalogue.networks import (
    ARCFACE_R50,
    OCR_DETECTION,
    OCR_RECOGNITION,
    SCRFD_2_5G,
    TINYCLIP,
)
from ml_target.catalogue.types import Network
from ml_target.remedies import command

pytestmark = pytest.mark.slow  # each runs whole networks, on the simulated card and on the processor


@pytest.mark.parametrize(
    ("network", "change", "task", "wrong"),
    [
        (TINYCLIP.visual, swap_colours, CLIP, {"clip.visual (tinyclip)": "colours"}),
        (TINYCLIP.visual, other_weights, CLIP, {"clip.visual (tinyclip)": "cosine_mean"}),
        (ARCFACE_R50, swap_colours, FACES, {"faces.recognition": "colours"}),
        (ARCFACE_R50, other_weights, FACES, {"faces.recognition": "cosine_mean", "faces": "cosine_mean"}),
        (OCR_DETECTION, swap_colours, OCR, {"ocr.detection": "colours"}),
        (OCR_RECOGNITION, other_weights, OCR, {"ocr.recognition": "cer", "ocr": "known_cer"}),
    ],
    ids=lambda value: getattr(value, "name", getattr(value, "__name__", None)),
)
def test_a_file_of_other_weights_or_colours_is_wrong(
    check: Check, folder: Path, fewer: None, network: Network, change: Any, task: tuple[str, ...], wrong: dict[str, str]
) -> None:
    hef_path(folder, network).unlink()
    write_hef(folder, network, change)
    run = check("--json", *task)
    assert run.code == 1
    assert run.report["verdict"] == "WRONG"
    for name, figure in wrong.items():
        assert run.check(name)["verdict"] == "WRONG"
        assert run.figures(name)[figure] == "WRONG"
        assert f"{command('models verify')}; then delete" in run.check(name)["remedy"]
        assert network.hef["hailo8"].name in run.check(name)["remedy"]


@pytest.mark.parametrize(
    ("network", "content", "task", "wrong"),
    [
        (TINYCLIP.visual, fingerprint, CLIP, ["clip.visual (tinyclip)", "clip search (tinyclip)"]),
        (ARCFACE_R50, fingerprint, FACES, ["faces.recognition", "faces"]),
        (SCRFD_2_5G, lambda n: faces(n, ((5, 6), (8, 15))), FACES, ["faces.detection", "faces"]),
        (SCRFD_2_5G, nothing, FACES, ["faces.detection", "faces"]),
        (OCR_DETECTION, nothing, OCR, ["ocr.detection", "ocr"]),
        (OCR_RECOGNITION, fingerprint, OCR, ["ocr.recognition", "ocr"]),
    ],
    ids=["pictures: noise", "vectors: noise", "faces: elsewhere", "faces: none", "text: none", "words: noise"],
)
def test_a_card_that_answers_nonsense_is_wrong(
    check: Check, folder: Path, fewer: None, network: Network, content: Any, task: tuple[str, ...], wrong: list[str]
) -> None:
    hef_path(folder, network).unlink()
    hef_path(folder, network).write_bytes(content(network))
    run = check("--json", *task)
    assert run.code == 1
    assert [name for name, verdict in run.verdicts().items() if verdict == "WRONG"] == wrong


def test_a_text_tower_that_the_worker_would_refuse_leaves_the_others_checked(check: Check, folder: Path) -> None:
    hef_path(folder, TINYCLIP.textual).unlink()
    hef_path(folder, TINYCLIP.textual).write_bytes(fingerprint(TINYCLIP.textual, form=1))
    run = check("--json", *CLIP)
    assert run.code == 1
    assert run.verdicts() == dict(zip(CHECKS["clip"], ("right", "WRONG", "not checked"), strict=True))
    told = run.check("clip.textual (tinyclip)")
    assert "CLIP_TEXT_ENGINE=cpu" in told["reason"]
    assert run.check("clip search (tinyclip)")["reason"] == "it takes a picture tower and a text tower"


def test_a_file_for_another_chip_is_wrong_in_words(check: Check, folder: Path, fewer: None) -> None:
    hef_path(folder, OCR_DETECTION).unlink()
    hef_path(folder, OCR_DETECTION).write_bytes(nothing(OCR_DETECTION)[:-1])
    run = check("--json", *OCR)
    assert (run.code, run.verdicts()) == (1, {"ocr": "WRONG"})
    assert "paddle_ocr_v5_mobile_detection.hef" in run.check("ocr")["reason"]
    assert "etch it again" in run.check("ocr")["reason"]


def test_a_vector_of_zeros_is_wrong_in_words(check: Check, folder: Path) -> None:
    hef_path(folder, TINYCLIP.visual).unlink()
    hef_path(folder, TINYCLIP.visual).write_bytes(nothing(TINYCLIP.visual))
    run = check("--json", *CLIP)
    assert run.code == 1
    assert "gave a vector that is zero" in run.check("clip.visual (tinyclip)")["reason"]


@pytest.mark.parametrize(
    ("network", "task", "wrong"),
    [
        (SCRFD_2_5G, FACES, ["faces.detection"]),
        (OCR_RECOGNITION, OCR, ["ocr.recognition", "ocr"]),
        (TINYCLIP.visual, CLIP, ["clip search (tinyclip)"]),
    ],
    ids=["faces", "words", "towers"],
)
def test_a_wrong_file_on_the_processor(
    check: Check, folder: Path, fewer: None, network: Network, task: tuple[str, ...], wrong: list[str]
) -> None:
    import onnx

    path = onnx_path(folder, network)
    model = onnx.load(str(path))
    path.unlink()
    other_weights(model)
    if network is OCR_RECOGNITION:  # the catalogue knows that file's checksum; this one's it does not
        path = folder / network.onnx[1].name
    onnx.save(model, str(path))
    run = check("--json", *task, ENGINE="cpu")
    assert run.code == 1
    assert [name for name, verdict in run.verdicts().items() if verdict == "WRONG"] == wrong
