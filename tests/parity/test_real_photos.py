"""The worker as Immich meets it: real HTTP, real networks, real photos."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from serving import live
from wire import CLIP, FACES, OCR, ask, search, vector, words_in_their_cells

from ml_target.config import Settings


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory, wheel_models: Path, face_models: Path) -> Path:
    """Every real file that can be had: OCR from wheels, faces from beside the checkout."""
    folder = tmp_path_factory.mktemp("models")
    for source in (wheel_models, face_models):
        for file in source.iterdir():
            if file.suffix in (".onnx", ".txt", ".gz"):
                (folder / file.name).symlink_to(file)
    return folder


@pytest.fixture(scope="module")
def client(models_dir: Path) -> Iterator[httpx.Client]:
    with live(settings=Settings(engine="cpu", models_dir=models_dir)) as (client, _worker):
        yield client


def test_status_names_what_is_served_and_why_the_rest_is_off(client: httpx.Client) -> None:
    assert ask(client, OCR).status_code == 200  # loading has ended
    status = client.get("/status").json()
    assert (status["ready"], status["engine"]) == (True, "cpu")
    faces = status["tasks"]["facial-recognition"]
    assert [n["network"] for n in faces["networks"]] == ["scrfd_2.5g", "face_embedder_112_512"]
    assert "stand-in" in faces["networks"][1]["note"]
    assert "stand-in" in faces["networks"][1]["space"]
    assert faces["networks"][0]["sha256"].startswith("bc24bb349491")
    assert status["tasks"]["ocr"]["on"]
    for task in ("clip.visual", "clip.textual"):
        assert not status["tasks"][task]["on"]
        assert "tinyclip" in status["tasks"][task]["why"]
        assert "MODELS_MIRROR" in status["tasks"][task]["why"]
    assert status["clip"][0]["immich_name"] == "ViT-B-32__openai"
    assert "RN101__openai" in status["clip"][0]["names_of_this_width"]


def test_tasks_without_files_are_refused_in_words(client: httpx.Client, photos: Path) -> None:
    for answer in (ask(client, CLIP, (photos / "coffee.jpg").read_bytes()), search(client, "a cat")):
        assert answer.status_code == 503
        assert "is off" in answer.json()["detail"]


@pytest.mark.parametrize(("name", "count"), [("faces_four.jpg", 4), ("faces_nine_rolled.jpg", 9), ("rocket.jpg", 0)])
def test_faces(client: httpx.Client, photos: Path, manifest: dict[str, Any], name: str, count: int) -> None:
    answer = ask(client, FACES, (photos / name).read_bytes()).json()
    assert (answer["imageWidth"], answer["imageHeight"]) == (manifest[name]["width"], manifest[name]["height"])
    faces = answer["facial-recognition"]
    assert len(faces) == count
    for face in faces:
        box = face["boundingBox"]
        assert -20 < box["x1"] < box["x2"] < answer["imageWidth"] + 20
        assert -20 < box["y1"] < box["y2"] < answer["imageHeight"] + 20
        assert np.linalg.norm(vector(face["embedding"])) > 0


def test_the_same_person_is_near_and_others_are_far(client: httpx.Client, photos: Path) -> None:
    def embedding(name: str) -> Any:
        (face,) = ask(client, FACES, (photos / name).read_bytes()).json()["facial-recognition"]
        numbers = np.array(vector(face["embedding"]))
        return numbers / np.linalg.norm(numbers)

    first = np.stack([embedding(f"person{k}_a.jpg") for k in range(6)])
    second = np.stack([embedding(f"person{k}_b.jpg") for k in range(6)])
    similar = first @ second.T
    same, others = similar.diagonal(), similar[~np.eye(6, dtype=bool)]
    assert same.min() > 0.9, "far above Immich's limit of 0.5"
    assert others.max() < 0.7, "as near as the stand-in embedder puts these made-up people, not nearer"


def test_text_sits_in_its_own_box(client: httpx.Client, photos: Path, manifest: dict[str, Any]) -> None:
    result = ask(client, OCR, (photos / "token_grid.jpg").read_bytes()).json()["ocr"]
    assert sorted(words_in_their_cells(result)) == sorted(manifest["token_grid.jpg"]["rendered_lines"])


def test_answers_under_load_are_those_of_each_request_alone(client: httpx.Client, photos: Path) -> None:
    jobs: list[tuple[str, dict[str, Any]]] = [
        ("faces_four.jpg", FACES),
        ("invoice.jpg", OCR),
        ("person0_a.jpg", FACES),
        ("rocket.jpg", OCR),
        ("astronaut.jpg", {**FACES, **OCR}),
        ("vertical_signs.jpg", OCR),
        ("person5_b.jpg", FACES),
        ("coffee.jpg", {**FACES, **OCR}),
    ]
    alone = [ask(client, entries, (photos / name).read_bytes()).json() for name, entries in jobs]
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, client, entries, (photos / name).read_bytes()) for name, entries in jobs]
        pings = []
        while not all(answer.done() for answer in answers):
            pings.append(client.get("/ping").elapsed.total_seconds())
    assert [answer.result().json() for answer in answers] == alone
    assert max(pings) < 2, "Immich's limit"


def test_options_are_applied_per_request(client: httpx.Client, photos: Path) -> None:
    photo = (photos / "faces_four.jpg").read_bytes()
    strict = json.loads(json.dumps(FACES))
    strict["facial-recognition"]["detection"]["options"]["minScore"] = 0.99
    assert ask(client, strict, photo).json()["facial-recognition"] == []
    assert len(ask(client, FACES, photo).json()["facial-recognition"]) == 4
    page = (photos / "invoice.jpg").read_bytes()
    unreachable = json.loads(json.dumps(OCR))
    unreachable["ocr"]["recognition"]["options"]["minScore"] = 1
    assert ask(client, unreachable, page).json()["ocr"]["text"] == []
    tiny = json.loads(json.dumps(OCR))
    tiny["ocr"]["detection"]["options"]["maxResolution"] = 32
    assert len(ask(client, tiny, page).json()["ocr"]["text"]) < 4
    assert len(ask(client, OCR, page).json()["ocr"]["text"]) == 4
