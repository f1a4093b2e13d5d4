"""Text by PP-OCRv6 with its real weights on the processor, over HTTP, beside a simulated card that does the rest."""

import io
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hailo_sim import Rig
from hailo_worker import SPEED, Ask, Crowd, Running, Watch, mixed, models_folder, running, wait_until
from PIL import Image, ImageDraw
from text_pages import latin
from text_reading import read

from ml_target.catalogue.networks import PPOCRV5_MOBILE, PPOCRV6_SMALL
from ml_target.config import Settings
from ml_target.engines.hailo import engine as hailo
from ml_target.engines.hailo import turns as hailo_turns
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.runtime.assembly import Loader
from ml_target.runtime.place import place_of
from ml_target.scheduling import recovery
from ml_target.scheduling.threads import ThreadPool
from ml_target.store import Store
from ml_target.tasks.ocr.reader import ReadOptions
from ml_target.tasks.ocr.task import OCR
from ml_target.tensors import UInt8

LINES = ("Zażółć gęślą", "Où est l'œuvre ?", "Total 1,284.50")
"""One for each picture. PP-OCRv5 mobile cannot spell the first two."""

RESOLUTION = 320
"""Of the text detector: enough for one large line, and soon read."""


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """The machine's own card has no say, and no pause is longer than a test needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hailo, "host_checks", lambda **_: [])
        patch.setattr(recovery, "BACK_OFF_S", (0.25, 0.3))
        patch.setattr(hailo_turns, "FLOOR_S", 2.5)
        yield


def page(line: str) -> UInt8:
    picture = Image.new("RGB", (480, 320), "white")
    ImageDraw.Draw(picture).text((40, 120), line, "black", latin(False, 48))
    return np.asarray(picture)


def png(pixels: UInt8) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def entry(name: str) -> dict[str, Any]:
    return {
        "detection": {"modelName": name, "options": {"minScore": 0.5, "maxResolution": RESOLUTION}},
        "recognition": {"modelName": name, "options": {"minScore": 0.8}},
    }


V6 = tuple(Ask(f"v6 {n}", {"ocr": entry("PP-OCRv6_small")}, png(page(line))) for n, line in enumerate(LINES))
V5 = tuple(ask for ask in mixed(1) if ask.name == "ocr 0")


@pytest.fixture(scope="module")
def alone(v6_models: Path) -> list[dict[str, Any]]:
    """Each page as the processor reads it without a card."""
    place, host = place_of(OnnxEngine(threads=1)), ThreadPool(1)
    loader = Loader(Settings(ocr_model="ppocrv6_small"), Store(v6_models), host, place, place)
    reader = loader.service(OCR.offer(PPOCRV6_SMALL)).get()
    options = ReadOptions(min_box_score=0.5, max_resolution=RESOLUTION, min_text_score=0.8)
    try:
        return [OCR.encode(read(reader, page(line), options)) for line in LINES]
    finally:
        host.close()
        place.arbiter.close()


@pytest.fixture(scope="module")
def folder(wheel_models: Path, v6_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every network of the default settings for the card, and PP-OCRv6 for the processor."""
    home = tmp_path_factory.mktemp("whole") / "models"
    shutil.copytree(models_folder(wheel_models, tmp_path_factory.mktemp("card")), home, symlinks=True)
    for network in (PPOCRV6_SMALL.detection, PPOCRV6_SMALL.recognition):
        (home / network.onnx[0].name).symlink_to(v6_models / network.onnx[0].name)
    return home


@pytest.fixture(scope="module")
def served(quick: None, folder: Path) -> Iterator[Running]:
    with running(Rig(clock=SPEED), folder, ocr_model="ppocrv6_small") as made:
        yield made


def others() -> list[Ask]:
    """Search and faces, which the card computes."""
    return [ask for ask in mixed(2) if ask.name.startswith(("clip", "faces", "query"))]


def reads_right(answers: dict[str, Any], alone: list[dict[str, Any]]) -> None:
    """The lines that were drawn, where the processor finds them without a card."""
    for ask, line, expected in zip(V6, LINES, alone, strict=True):
        found = answers[ask.name]["ocr"]
        assert found["text"] == [line]
        for key in ("box", "boxScore", "textScore"):
            assert found[key] == pytest.approx(expected[key], abs=1e-4), key


def test_text_is_read_on_the_processor_and_all_else_on_the_card(
    folder: Path, alone: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig(clock=SPEED)
    with running(rig, folder, ocr_model="ppocrv6_small") as served:
        answers = served.alone([*V6, *others()])
        refused = V5[0].send(served.client)
        status = served.client.get("/status").json()
    reads_right(answers, alone)
    assert len(answers["faces 0"]["facial-recognition"]) == 3
    ran = {name for name, model in rig.record.models.items() if model.frames}
    assert {name.split("_")[0] for name in ran} == {"tinyclip", "scrfd", "arcface"}
    assert refused.status_code == 400
    assert "or start the worker with OCR_MODEL=ppocrv5_mobile" in refused.json()["detail"]

    engines = {task: {each["engine"] for each in said["networks"]} for task, said in status["tasks"].items()}
    assert engines.pop("ocr") == {"cpu"}
    assert set(map(frozenset, engines.values())) == {frozenset({"hailo"})}
    assert [each["engine"] for each in status["devices"]] == ["hailo", "cpu"]
    assert [(each["model"], each["on"]) for each in status["ocr"]] == [("ppocrv6_small", True)]
    lines = [record.getMessage() for record in caplog.records]
    for stage in ("detection", "recognition"):
        assert any(
            line.startswith(f"ocr: {stage} runs on the processor, because OCR_MODEL=ppocrv6_small is set")
            for line in lines
        )
        assert any(f"network=ppocrv6_small_{stage} stage={stage} engine=cpu" in line for line in lines)


@pytest.mark.slow
def test_two_text_models_answer_each_for_its_own_names(
    folder: Path, alone: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    """The lines of the card's model are those that the simulated networks always find."""
    caplog.set_level(logging.INFO)
    rig = Rig(clock=SPEED)
    with running(rig, folder, ocr_model="auto") as served:
        card = [model for name, model in rig.record.models.items() if name.startswith("paddle")]
        frames = [model.frames for model in card]  # of the checks at the start
        answers = served.alone(V6)
        assert [model.frames for model in card] == frames
        of_card = served.alone(V5)
        assert all(model.frames > before for model, before in zip(card, frames, strict=True))
        unknown = Ask("?", {"ocr": entry("PP-OCRv4_mobile")}, V6[0].content).send(served.client)
        expected = {**answers, **of_card}
        with Crowd(served, [*V6, *V5, *others()], {**expected, **served.alone(others())}) as crowd:
            crowd.wait_for(30)
        status = served.client.get("/status").json()
    reads_right(answers, alone)
    assert of_card["ocr 0"]["ocr"]["text"]
    assert crowd.tally.answered == {200: crowd.tally.total}, crowd.tally.words[:3]
    assert not crowd.tally.wrong
    assert unknown.status_code == 400
    assert "PP-OCRv5_mobile or PP-OCRv6_small" in unknown.json()["detail"]
    assert [(each["model"], each["immich_name"]) for each in status["ocr"]] == [
        (model.name, model.immich_name) for model in (PPOCRV5_MOBILE, PPOCRV6_SMALL)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["abort_device", "kill"])
def test_text_is_read_while_the_card_is_lost(served: Running, fault: str) -> None:
    """Not one of its requests is refused or wrong; search and faces wait for the card, or are told to."""
    expected = {**served.alone(V6), **served.alone(others())}
    opened, detector = served.rig.record.opened, served.rig.record.models["scrfd_2_5g"]
    configured = detector.configured
    with (
        Watch(served) as watch,
        Crowd(served, V6, expected, clients=2) as text,
        Crowd(served, others(), expected, clients=4) as crowd,
    ):
        crowd.wait_for(10)
        getattr(served.rig.faults, fault)(*(["scrfd_2.5g"] if fault == "kill" else []))
        wait_until(lambda: 503 in watch.statuses, 60)
        text.wait_for(2)
        wait_until(lambda: served.ping() == 200, 60)
        crowd.wait_for(20)
    assert (served.rig.record.opened, detector.configured) > (opened, configured)
    assert text.tally.answered == {200: text.tally.total}, text.tally.words[:3]
    assert not text.tally.wrong
    assert not crowd.tally.wrong
    assert set(crowd.tally.answered) <= {200, 503}, crowd.tally.words[:3]
    assert {**served.alone(V6), **served.alone(others())} == expected
