"""`compare` between this worker and others, over HTTP, with real photos: what it says of cases whose answer is known.

Immich's own worker is played by `official_worker.py`: insightface, RapidOCR's classes and Pillow read the same files.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from light_towers import light_models, picture_tower, text_tower
from official_worker import create_app
from PIL import Image
from serving import live
from worker_process import wait_for_ping

from ml_target.__main__ import main
from ml_target.api.serve import listen
from ml_target.catalogue.networks import ARCFACE_R50, SCRFD_2_5G, VIT_B_16
from ml_target.config import Settings

PEOPLE = [f"person{n}_{which}.jpg" for n in range(4) for which in "ab"] + ["faces_four.jpg", "faces_nine_rolled.jpg"]
PAGES = ["token_grid.jpg"]
CUTS = [(0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.6, 0.7), (0.3, 0.2, 1.0, 0.9), (0.2, 0.4, 0.8, 1.0), (0.1, 0.1, 0.5, 0.5)]
"""Parts of a photo that count as photos of their own: left, top, right, bottom as shares of its sides."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, wheel_models: Path, face_models: Path) -> Path:
    """Real networks for faces and text; light towers for search, of TinyCLIP's contract and of another backend's."""
    folder = light_models(tmp_path_factory.mktemp("models"), wheel_models)
    picture_tower(folder / VIT_B_16.visual.onnx[0].name, seed=21)
    text_tower(folder / VIT_B_16.textual.onnx[0].name, seed=22)
    for name, file in (
        (SCRFD_2_5G.onnx[0].name, face_models / "scrfd_2.5g_bnkps.onnx"),
        (ARCFACE_R50.onnx[0].name, face_models / "face_embedder_112_512.onnx"),
        *(
            (name, wheel_models / name)
            for name in ("ppocrv5_mobile_det.onnx", "ppocrv5_mobile_rec.onnx", "ppocrv5_dict.txt")
        ),
    ):
        (folder / name).symlink_to(file)
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """More than a hundred small photos."""
    folder = tmp_path_factory.mktemp("parts")
    for file in sorted(photos.glob("*.jpg")):
        with Image.open(file) as opened:
            opened.draft("RGB", (800, 800))  # large enough for small parts, and decoded sooner
            whole = opened.convert("RGB")
        for number, (left, top, right, bottom) in enumerate(CUTS):
            sides = whole.width * left, whole.height * top, whole.width * right, whole.height * bottom
            part = whole.crop(tuple(map(int, sides)))  # type: ignore[arg-type]
            part.thumbnail((400, 400))
            part.save(folder / f"{file.stem}-{number}.jpg", quality=90)
    return folder


@contextmanager
def official(models: Path) -> Iterator[str]:
    """The stand-in for Immich's own worker; its address."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(models), log_level="error", lifespan="off"))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


@contextmanager
def ours(models: Path, backend: str = "tinyclip") -> Iterator[str]:
    settings = Settings(engine="cpu", clip_backend=backend, models_dir=models, cpu_threads=1)
    with live(settings=settings) as (client, _worker):
        wait_for_ping(client.base_url.port or 0)
        yield str(client.base_url)


def compared(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """The tasks of the figures that it writes."""
    file = tmp_path / "figures.json"
    assert main(["compare", "--json", str(file), *arguments]) == 0
    tasks: dict[str, Any] = json.loads(file.read_text("utf-8"))["tasks"]
    return tasks


@pytest.fixture(scope="module")
def both(models: Path) -> Iterator[tuple[str, str]]:
    """The official worker's address, and this one's."""
    with official(models) as there, ours(models) as here:
        yield there, here


def test_immich_s_own_worker_with_the_same_weights_has_the_same_search(
    both: tuple[str, str], parts: Path, tmp_path: Path
) -> None:
    there, here = both
    search = compared(tmp_path, there, str(parts), "--ours", here, "--task", "search")["search"]
    assert search["verdict"] == "same space", search
    assert search["figures"]["cosine_least"] > 0.9999
    assert search["figures"]["queries_shared"] > 0.97


def test_immich_s_own_worker_with_the_same_weights_knows_the_same_faces(
    both: tuple[str, str], photos: Path, tmp_path: Path
) -> None:
    there, here = both
    folder = tmp_path / "people"
    folder.mkdir()
    for name in PEOPLE:
        (folder / name).symlink_to(photos / name)
    faces = compared(tmp_path, there, str(folder), "--ours", here, "--task", "faces")["faces"]
    assert faces["verdict"] == "same space", faces
    assert faces["figures"]["found"] == faces["figures"]["theirs"] == 1.0
    assert faces["figures"]["cosine_least"] > 0.99


def test_immich_s_own_worker_with_the_same_weights_reads_the_same_text(
    both: tuple[str, str], photos: Path, tmp_path: Path
) -> None:
    there, here = both
    folder = tmp_path / "pages"
    folder.mkdir()
    for name in PAGES:
        (folder / name).symlink_to(photos / name)
    text = compared(tmp_path, there, str(folder), "--ours", here, "--task", "text")["text"]
    assert text["verdict"] in ("same space", "ranks alike"), text
    assert "nothing has to run again" in text["advice"]


def test_a_worker_of_ours_with_another_backend_is_another_space(models: Path, parts: Path, tmp_path: Path) -> None:
    """Both answer for one name, and their vectors have one width: only measuring tells them apart."""
    with ours(models) as here, ours(models, "vit_b_16") as there:
        search = compared(
            tmp_path, there, str(parts), "--ours", here, "--task", "search", "--clip", VIT_B_16.immich_name
        )["search"]
    assert search["verdict"] == "another space", search
    assert "Smart Search > All" in search["advice"]
