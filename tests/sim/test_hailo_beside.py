"""Networks that run on the processor beside the card, because the owner chose ones with no HEF.

Faces by Immich's own `buffalo_l`: the detector on the simulated card, the recogniser on the processor.
"""

import logging
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import fingerprint, from_onnx
from hailo_worker import SPEED, Crowd, Running, Watch, mixed, models_folder, running, wait_until
from immich_faces import RECOGNIZER_FILE, put_files, take_any_file
from project import TESTS
from serving import live
from simulated_card import DETECTOR, EMBEDDER, hef_path
from wire import FACES, ask, vector

from ml_target.__main__ import main
from ml_target.catalogue.networks import ARCFACE_R50, BUFFALO_DETECTOR, BUFFALO_RECOGNIZER, SCRFD_2_5G, SCRFD_10G
from ml_target.config import Settings
from ml_target.engines.hailo import engine as hailo
from ml_target.engines.hailo import turns as hailo_turns
from ml_target.engines.onnx.network import OnnxNetwork
from ml_target.scheduling import recovery
from ml_target.tensors import Float32

PICTURE = TESTS / "test.jpg"
SCRFD_HEFS = (SCRFD_2_5G, SCRFD_10G)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Any file may be `buffalo_l`, the machine's own card has no say, and no pause is longer than a test needs."""
    with pytest.MonkeyPatch.context() as patch:
        take_any_file(patch)
        patch.setattr(hailo, "host_checks", lambda **_: [])
        patch.setattr(recovery, "BACK_OFF_S", (0.25, 0.3))
        patch.setattr(hailo_turns, "FLOOR_S", 2.5)
        yield


@pytest.fixture(scope="module")
def folder(small_face_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both detectors for the card, and `buffalo_l` for the processor."""
    home = tmp_path_factory.mktemp("buffalo")
    put_files(home, small_face_models)
    for network in SCRFD_HEFS:
        hef_path(home, network).write_bytes(from_onnx(network, small_face_models / DETECTOR, []))
    return home


def settings(folder: Path, **chosen: Any) -> Settings:
    return Settings(**{"engine": "hailo", "models_dir": folder, "face_recognizer": "buffalo_l", **chosen})


def units(faces: Sequence[dict[str, Any]]) -> Float32:
    """The vectors of the faces from left to right, of length 1."""
    ordered = sorted(faces, key=lambda face: face["boundingBox"]["x1"])
    vectors = np.array([vector(face["embedding"]) for face in ordered], np.float32)
    unit: Float32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def found(chosen: Settings, rig: Rig) -> tuple[Float32, dict[str, Any], set[str]]:
    """The vectors of the test picture's faces, the status page, and the networks that ran on the card."""
    with simulated(rig), live(settings=chosen) as (client, _worker):
        answer = ask(client, FACES, PICTURE.read_bytes())
        assert answer.status_code == 200, answer.text
        status = client.get("/status").json()
    ran = {name for name, model in rig.record.models.items() if model.frames}
    return units(answer.json()["facial-recognition"]), status, ran


def test_faces_are_found_on_the_card_and_described_on_the_processor(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    vectors, status, ran = found(settings(folder, face_detector="scrfd_10g"), Rig(clock="virtual"))
    assert ran == {"scrfd_10g"}
    networks = status["tasks"]["facial-recognition"]["networks"]
    assert [(each["network"], each["engine"]) for each in networks] == [
        ("scrfd_10g", "hailo"),
        ("buffalo_l_recognition", "cpu"),
    ]
    assert networks[1]["file"] == RECOGNIZER_FILE
    assert status["engine"] == "hailo"
    assert [each["engine"] for each in status["devices"]] == ["hailo", "cpu"]
    lines = [record.getMessage() for record in caplog.records]
    told = [line for line in lines if "runs on the processor" in line]
    assert len(told) == 1
    assert told[0].startswith("faces: recognition runs on the processor, because FACE_RECOGNIZER=buffalo_l is set")
    assert "CPU_THREADS and CPU_WORKERS bound" in told[0]
    assert any("network=buffalo_l_recognition stage=recognition engine=cpu" in line for line in lines)
    assert not any("is recommended beside" in line for line in lines)
    assert any("predict outcome=200 tasks=facial-recognition engine=hailo,cpu " in line for line in lines)

    alone, _, ran = found(settings(folder, engine="cpu", face_detector="buffalo_l"), Rig(clock="virtual"))
    assert not ran
    assert len(vectors) == len(alone) == 4
    assert (vectors * alone).sum(axis=1).min() > 0.95, "the same but for the detector's landmarks in 8 bits"


def test_the_detector_that_goes_with_it_is_recommended_on_a_card(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found(settings(folder), Rig(clock="virtual"))
    (line,) = [record.getMessage() for record in caplog.records if "is recommended" in record.getMessage()]
    assert line.startswith("FACE_DETECTOR=scrfd_10g is recommended beside FACE_RECOGNIZER=buffalo_l, rather than scrf")


def test_both_networks_may_run_on_the_processor_of_a_host_with_a_card(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    _, status, ran = found(settings(folder, face_detector="buffalo_l"), Rig(clock="virtual"))
    assert not ran
    assert {each["engine"] for each in status["tasks"]["facial-recognition"]["networks"]} == {"cpu"}
    text = caplog.text
    for setting, stage in (("FACE_DETECTOR", "detection"), ("FACE_RECOGNIZER", "recognition")):
        assert f"faces: {stage} runs on the processor, because {setting}=buffalo_l is set" in text
    assert "is recommended beside" not in text


@pytest.mark.parametrize("chosen", ["buffalo_l", ""])
def test_what_is_missing_is_replaced_by_nothing(
    folder: Path, small_face_models: Path, tmp_path: Path, chosen: str
) -> None:
    """Neither does the card's recogniser stand in for the processor's, nor one of the processor's for the card's."""
    shutil.copy(hef_path(folder, SCRFD_2_5G), tmp_path)
    if chosen:
        missing = RECOGNIZER_FILE
        hef_path(tmp_path, ARCFACE_R50).write_bytes(fingerprint(ARCFACE_R50))
    else:
        missing = hef_path(tmp_path, ARCFACE_R50).name
        put_files(tmp_path, small_face_models)
        (tmp_path / EMBEDDER).symlink_to(small_face_models / EMBEDDER)
    with (
        simulated(Rig(clock="virtual")),
        live(
            # So that there is a processor beside the card in either case.
            settings=settings(
                tmp_path, face_recognizer=chosen, face_detector=SCRFD_2_5G.name if chosen else "buffalo_l"
            )
        ) as (client, _worker),
    ):
        answer = ask(client, FACES, PICTURE.read_bytes())
    assert answer.status_code == 503
    assert f"facial-recognition is off: {missing} is not there" in answer.json()["detail"]


@pytest.mark.parametrize(("detector", "opened"), [("scrfd_10g", 1), ("buffalo_l", 0)])
def test_a_command_opens_the_card_only_where_something_runs_on_it(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    detector: str,
    opened: int,
) -> None:
    given = {"ENGINE": "hailo", "FACE_RECOGNIZER": "buffalo_l", "FACE_DETECTOR": detector, "MODELS_DIR": str(folder)}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with simulated(Rig(clock="virtual")) as rig:
        assert main(["predict", str(PICTURE), "--task", "faces"]) == 0
    assert "faces: 4" in capsys.readouterr().out
    assert (rig.record.opened, bool(rig.held)) == (opened, False)


# ------------------------------------------------------------- load and faults


@pytest.fixture(scope="module")
def served(
    quick: None, wheel_models: Path, small_face_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A whole worker of every task; its detector finds three faces in every picture."""
    home = tmp_path_factory.mktemp("whole") / "models"
    shutil.copytree(models_folder(wheel_models, tmp_path_factory.mktemp("card")), home, symlinks=True)
    put_files(home, small_face_models)
    with running(Rig(clock=SPEED), home, face_recognizer="buffalo_l") as made:
        yield made


def recogniser(served: Running) -> OnnxNetwork:
    assert served.worker._services is not None
    _, model = served.worker._services.of["facial-recognition"][0].models
    assert isinstance(model.loaded, OnnxNetwork)
    return model.loaded


@pytest.mark.slow
def test_under_load_every_answer_is_that_of_the_request_alone(served: Running) -> None:
    expected = served.alone(mixed(2))
    assert len(expected["faces 0"]["facial-recognition"]) == 3
    with Watch(served) as watch, Crowd(served, mixed(2), expected) as crowd:
        crowd.wait_for(60)
    assert crowd.tally.answered == {200: crowd.tally.total}, crowd.tally.words[:3]
    assert not crowd.tally.wrong
    assert set(watch.statuses) == {200}


@pytest.mark.parametrize("fault", ["abort_device", pytest.param("kill", marks=pytest.mark.slow)])
def test_a_lost_card_comes_back_and_the_processor_has_no_part_in_it(served: Running, fault: str) -> None:
    """Requests are answered rightly or refused with 503 until the card is back; then all are answered again."""
    expected = served.alone(mixed(2))
    with Watch(served) as watch, Crowd(served, mixed(2), expected) as crowd:
        crowd.wait_for(10)
        getattr(served.rig.faults, fault)(*(["scrfd_2.5g"] if fault == "kill" else []))
        wait_until(lambda: 503 in watch.statuses and served.ping() == 200, 60)
        crowd.wait_for(20)
    assert not crowd.tally.wrong
    assert set(crowd.tally.answered) <= {200, 503}, crowd.tally.words[:3]
    assert served.alone(mixed(2)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["fail_frames", "lose", "hang"])
def test_after_a_failed_burst_of_the_detector_nothing_is_wrong_and_nothing_lost(served: Running, fault: str) -> None:
    """Faces wait on the card first and on the processor then: none of them gets another one's vectors, none is lost."""
    asks = [ask for ask in mixed(4) if ask.name.startswith(("faces", "all", "query"))]
    expected = served.alone(asks)
    detector = served.rig.record.models["scrfd_2_5g"]
    configured = detector.configured
    with Crowd(served, asks, expected) as crowd:
        crowd.wait_for(10)
        deadline = time.monotonic() + 60
        while detector.configured == configured:  # what is lost may be an empty frame, which nobody waits for
            assert time.monotonic() < deadline
            getattr(served.rig.faults, fault)("scrfd_2.5g")
            again = time.monotonic() + 12
            while detector.configured == configured and time.monotonic() < again:
                time.sleep(0.05)
        wait_until(lambda: served.ping() == 200, 60)
        crowd.wait_for(30)
    assert not crowd.tally.wrong
    assert set(crowd.tally.answered) <= {200, 503}, crowd.tally.words[:3]
    assert crowd.tally.answered[200] >= 30
    assert served.alone(asks) == expected


def test_a_fault_on_the_processor_leaves_the_card_alone(served: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request whose face could not be described gets the fault, the others their answers."""
    asks = mixed(2)
    expected = served.alone(asks)
    opened, failures, lock = served.rig.record.opened, 5, threading.Lock()
    loaded = recogniser(served)
    session = loaded._session

    class Failing:
        def run(self, *given: Any) -> Any:
            nonlocal failures
            with lock:
                failures -= 1
                fails = failures >= 0
            if fails:
                raise RuntimeError("out of memory")
            return session.run(*given)

    with Watch(served) as watch, Crowd(served, asks, expected) as crowd:
        crowd.wait_for(10)
        monkeypatch.setattr(loaded, "_session", Failing())
        wait_until(lambda: failures < 0, 60)
        crowd.wait_for(20)
    assert not crowd.tally.wrong
    assert set(crowd.tally.answered) == {200, 500}, crowd.tally.words[:3]
    assert 1 <= crowd.tally.answered[500] <= 5
    assert all(BUFFALO_RECOGNIZER.name in words for words in crowd.tally.words)
    assert set(watch.statuses) == {200}
    assert served.rig.record.opened == opened, "the card was never opened anew"
    assert served.alone(asks) == expected
    assert BUFFALO_DETECTOR.name not in served.rig.record.models
