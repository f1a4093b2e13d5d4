"""Faces over real HTTP on both engines, with small networks that find the faces of the project's own pictures.

What the real networks make of real photos is in tests/parity and tests/sim.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import from_onnx
from project import TESTS
from serving import live
from simulated_card import DETECTOR, EMBEDDER, aligned_faces, hef_path
from wire import FACES, ask, vector

from ml_target.catalogue.networks import ARCFACE_R50, SCRFD_2_5G
from ml_target.config import Settings
from ml_target.diagnostics.checks.samples import BOARD, FACE_BOXES, LABELS_PAGE
from ml_target.tensors import Float32

TEST_PICTURE = TESTS / "test.jpg"
"""The same board as the selfcheck's, half as large again."""


@pytest.fixture(scope="module", params=["cpu", "hailo"])
def client(
    request: pytest.FixtureRequest, small_face_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """The embedder goes as ArcFace's: the file that it is named after is known by its checksum."""
    engine, folder = request.param, tmp_path_factory.mktemp("faces")
    for network, name in ((SCRFD_2_5G, DETECTOR), (ARCFACE_R50, EMBEDDER)):
        source = small_face_models / name
        if engine == "cpu":
            (folder / network.onnx[0].name).symlink_to(source)
        else:
            crops = aligned_faces(small_face_models, TEST_PICTURE) if network is ARCFACE_R50 else []
            hef_path(folder, network).write_bytes(from_onnx(network, source, crops))
    with (
        simulated(Rig(clock="virtual")),
        live(settings=Settings(engine=engine, models_dir=folder)) as (client, _worker),
    ):
        yield client


def faces(client: httpx.Client, picture: Path, min_score: float = 0.7) -> list[dict[str, Any]]:
    """From left to right."""
    entries = json.loads(json.dumps(FACES))
    entries["facial-recognition"]["detection"]["options"]["minScore"] = min_score
    answer = ask(client, entries, picture.read_bytes())
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["facial-recognition"]
    return sorted(found, key=lambda face: face["boundingBox"]["x1"])


def units(found: list[dict[str, Any]]) -> Float32:
    vectors = np.array([vector(face["embedding"]) for face in found], np.float32)
    unit: Float32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize(("picture", "scale"), [(BOARD, 1.0), (TEST_PICTURE, 1.5)], ids=["board", "test picture"])
def test_each_face_is_where_it_is(client: httpx.Client, picture: Path, scale: float) -> None:
    found = faces(client, picture)
    boxes = [[face["boundingBox"][side] for side in ("x1", "y1", "x2", "y2")] for face in found]
    np.testing.assert_allclose(boxes, FACE_BOXES * scale, atol=4 * scale)
    assert all(0.9 < face["score"] <= 1 for face in found)


def test_a_face_is_near_itself_in_another_picture_and_far_from_others(client: httpx.Client) -> None:
    likeness = units(faces(client, BOARD)) @ units(faces(client, TEST_PICTURE)).T
    assert likeness.diagonal().min() > 0.9
    assert likeness[~np.eye(4, dtype=bool)].max() < 0.6


def test_a_page_of_words_holds_nobody(client: httpx.Client) -> None:
    assert faces(client, LABELS_PAGE) == []


def test_answers_under_load_are_those_of_each_request_alone(client: httpx.Client) -> None:
    pictures = [BOARD, TEST_PICTURE, LABELS_PAGE, TEST_PICTURE]
    alone = [faces(client, picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda picture: faces(client, picture), pictures)) == alone
