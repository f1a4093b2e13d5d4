"""The worker on the simulated card as Immich meets it: real HTTP, real networks, real photos."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import parity_table as parity
import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import fingerprint
from hailo_worker import apart, models_folder
from light_towers import text_tower
from project import TESTS
from serving import live
from simulated_card import hef_path, write_face_files, write_text_files
from wire import CLIP, FACES, OCR, ask, search, vector, words_in_their_cells

from ml_target.catalogue.networks import ARCFACE_R50, OCR_DETECTION, OCR_RECOGNITION, SCRFD_2_5G, TINYCLIP
from ml_target.config import Settings
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.runtime.lifecycle import Worker

JOBS: list[tuple[str, dict[str, Any]]] = [
    ("faces_four.jpg", FACES),
    ("token_grid.jpg", OCR),
    ("person0_a.jpg", FACES),
    ("invoice.jpg", OCR),
    ("astronaut.jpg", {**FACES, **OCR}),
    ("vertical_signs.jpg", OCR),
    ("faces_nine_rolled.jpg", FACES),
    ("coffee.jpg", {**FACES, **OCR}),
]


@dataclass(frozen=True)
class Served:
    """A worker, its client, its files and its card."""

    client: httpx.Client
    worker: Worker
    folder: Path
    rig: Rig

    def networks(self, task: str) -> list[dict[str, Any]]:
        """What the status page says of a task's networks."""
        found: list[dict[str, Any]] = self.client.get("/status").json()["tasks"][task]["networks"]
        return found


@pytest.fixture(scope="module")
def served(
    face_models: Path, wheel_models: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("card")
    write_face_files(folder, face_models, photos)
    write_text_files(folder, wheel_models)
    settings = Settings(engine="hailo", models_dir=folder)
    with simulated(Rig(clock="virtual")) as rig:
        with live(settings=settings) as (client, worker):
            yield Served(client, worker, folder, rig)
        assert not rig.held
        assert not rig.record.crashes


def test_status_names_the_card_its_files_and_their_hashes(served: Served, photos: Path) -> None:
    assert ask(served.client, OCR, (photos / "coffee.jpg").read_bytes()).status_code == 200  # loading has ended
    status = served.client.get("/status").json()
    assert (status["engine"], status["ready"]) == ("hailo", True)
    for task, networks in (
        ("facial-recognition", (SCRFD_2_5G, ARCFACE_R50)),
        ("ocr", (OCR_DETECTION, OCR_RECOGNITION)),
    ):
        for described, network in zip(served.networks(task), networks, strict=True):
            file = hef_path(served.folder, network)
            sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
            told = {key: described[key] for key in ("network", "engine", "file", "sha256")}
            assert told == {"network": network.name, "engine": "hailo", "file": file.name, "sha256": sha256}


@pytest.mark.slow
def test_answers_under_load_are_those_of_each_request_alone(
    served: Served, photos: Path, manifest: dict[str, Any]
) -> None:
    jobs = [((photos / name).read_bytes(), entries) for name, entries in JOBS]
    alone = [ask(served.client, entries, data).json() for data, entries in jobs]
    before = {name: model.bursts.copy() for name, model in served.rig.record.models.items()}
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, served.client, entries, data) for data, entries in jobs]
        pings = []
        while not all(answer.done() for answer in answers):
            pings.append(served.client.get("/ping").elapsed.total_seconds())
    others = sum(answer.result().json() != expected for answer, expected in zip(answers, alone, strict=True))
    parity.record("worker on the simulated Hailo, 8 at once", "answers other than alone", f"{others} of 8", "0")
    assert not others
    for (name, entries), answer in zip(JOBS, alone, strict=True):
        assert len(answer.get("facial-recognition", ())) == (
            _people(manifest[name]) if "facial-recognition" in entries else 0
        )
        if name == "token_grid.jpg":
            assert words_in_their_cells(answer["ocr"]) == manifest[name]["rendered_lines"]
    lines = served.rig.record.models["paddle_ocr_v5_mobile_recognition"].bursts
    lines.subtract(before["paddle_ocr_v5_mobile_recognition"])
    frames = sum(size * count for size, count in lines.items())
    parity.record("worker on the simulated Hailo, 8 at once", "lines a burst, mean", frames / lines.total(), "≥ 6")
    assert frames / lines.total() >= 6
    assert max(pings) < 2, "Immich's limit"


def _people(entry: dict[str, Any]) -> int:
    return len(entry.get("identities", ())) or int("one real face" in entry.get("note", ""))


# ------------------------------------------------ queries on the processor


def test_queries_on_the_processor_pictures_on_the_card(wheel_models: Path, tmp_path: Path) -> None:
    vocabulary = wheel_models / "bpe_simple_vocab_16e6.txt.gz"
    (tmp_path / vocabulary.name).symlink_to(vocabulary)
    tower = text_tower(tmp_path / TINYCLIP.textual.onnx[0].name)
    hef_path(tmp_path, TINYCLIP.visual).write_bytes(fingerprint(TINYCLIP.visual))
    photo = (TESTS / "test.jpg").read_bytes()
    with (
        simulated(Rig(clock="virtual")) as rig,
        live(settings=Settings(engine="hailo", clip_text_engine="cpu", models_dir=tmp_path)) as (client, worker),
    ):
        answers = [search(client, "a photo of a cat") for _ in range(2)]
        assert len(vector(ask(client, CLIP, photo).json()["clip"])) == 512
        served = Served(client, worker, tmp_path, rig)
        ((visual,), (textual,)) = (served.networks(f"clip.{side}") for side in ("visual", "textual"))
        frames = {name: model.frames for name, model in rig.record.models.items()}
    assert (visual["engine"], visual["file"]) == ("hailo", hef_path(tmp_path, TINYCLIP.visual).name)
    assert (textual["engine"], textual["file"]) == ("cpu", tower.name)
    assert set(frames) == {TINYCLIP.visual.name}
    ids = np.full(77, 49407)
    ids[:7] = [49406, 320, 1125, 539, 320, 2368, 49407]
    (expected,) = OnnxEngine(threads=1).open(tower, TINYCLIP.textual).run([ids])
    real = expected["embedding"].real()
    for answer in answers:
        assert vector(answer.json()["clip"]) == pytest.approx(list(real / np.linalg.norm(real)), abs=1e-6)


def test_queries_stay_on_the_card_unless_told(wheel_models: Path, tmp_path: Path) -> None:
    """A text tower for the processor does not stand in for a missing one of the card's."""
    text_tower(tmp_path / TINYCLIP.textual.onnx[0].name)
    hef_path(tmp_path, TINYCLIP.visual).write_bytes(fingerprint(TINYCLIP.visual))
    with (
        simulated(Rig(clock="virtual")),
        live(settings=Settings(engine="hailo", models_dir=tmp_path)) as (client, _),
    ):
        answer = search(client, "a photo of a cat")
    assert answer.status_code == 503
    assert TINYCLIP.textual.hef["hailo8"].name in answer.json()["detail"]


@pytest.mark.slow
def test_a_card_alone_does_without_onnx_runtime(wheel_models: Path, tmp_path: Path) -> None:
    """It takes 19 MB of memory; there is no file of the processor's to compare queries with."""
    models = models_folder(wheel_models, tmp_path)
    with apart(tmp_path, models, HAILO_SIM_CLOCK="virtual") as worker:
        assert worker.becomes_ready()
        assert search(worker.client, "a photo of a cat").status_code == 200
        assert "onnxruntime" not in Path(f"/proc/{worker.process.pid}/maps").read_text()
