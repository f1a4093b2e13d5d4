"""Makes docs/page.webp, the page of a running worker, and docs/try.webp, the test picture tried on it.

    .venv/bin/python scripts/make_pictures.py [http://127.0.0.1:3003]

Without an address it starts a worker on the simulated card, whose networks really find faces and read text; --faces
names a folder with SCRFD and an embedder as ONNX, in place of stand-ins that find the faces of the test picture. That
card is lost once, so that there is a recovery to see. Sends the worker photos for a while first, for its graphs; with
--after 0 it does not. Needs Chromium and its driver (apt-get install chromium-driver). docs/drawn.jpg is made by
`ml_target predict --draw`.
"""

import argparse
import io
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

import httpx  # noqa: E402
from browser import THEMES, chromium, look, whole_page  # noqa: E402
from face_networks import write_face_networks  # noqa: E402
from hailo_sim.build import from_onnx  # noqa: E402
from hailo_worker import apart, models_folder  # noqa: E402
from PIL import Image  # noqa: E402
from selenium.webdriver import Chrome  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from simulated_card import DETECTOR, EMBEDDER, OCR_FILES, aligned_faces, hef_path  # noqa: E402
from wire import CLIP, FACES, OCR, QUERY  # noqa: E402

from ml_target.catalogue import files  # noqa: E402
from ml_target.catalogue.networks import ARCFACE_R50, SCRFD_2_5G  # noqa: E402
from ml_target.catalogue.types import Network  # noqa: E402
from ml_target.store import Store  # noqa: E402
from ml_target.tensors import Array  # noqa: E402

SIZE = (1280, 900)
MARGIN = 24
MOST_BYTES = 200_000
PHOTO = PROJECT / "tests" / "test.jpg"
CLIENTS = 3
Box = tuple[float, float, float, float]


@contextmanager
def own_worker(folder: Path, faces: Path | None) -> Iterator[tuple[str, Callable[[], None]]]:
    """Its address, and what makes its card fail."""
    store = Store(folder / "wheels")
    for file in (files.OCR_DETECTION_FREE, files.OCR_RECOGNITION_FREE, files.OCR_DICTIONARY, files.CLIP_VOCABULARY):
        store.check(file, store.fetch(file))
    models = models_folder(folder / "wheels", folder)
    faces = faces or write_face_networks(folder)
    real: list[tuple[Network, Path, list[Array]]] = [
        (network, folder / "wheels" / file, []) for network, file in OCR_FILES
    ]
    real += [(SCRFD_2_5G, faces / DETECTOR, []), (ARCFACE_R50, faces / EMBEDDER, aligned_faces(faces, PHOTO))]
    for network, onnx, samples in real:
        hef_path(models, network).write_bytes(from_onnx(network, onnx, samples))
    answers = folder / "answers"
    answers.mkdir()
    with apart(folder, models, None, HAILO_SIM_REMEMBER=str(answers)) as worker:
        worker.becomes_ready()
        yield str(worker.client.base_url).rstrip("/"), lambda: worker.rig.fault("abort_device")


def index(url: str, seconds: float) -> None:
    """Asks as Immich does while it indexes, with pauses, so that the graphs have hills."""
    photo, end, number = PHOTO.read_bytes(), time.monotonic() + seconds, 0
    with httpx.Client(base_url=url, timeout=240) as client:
        while time.monotonic() < end:
            for entries in (CLIP, FACES, OCR)[: 1 + number % 3]:
                form = {"entries": json.dumps(entries)}
                client.post("/predict", data=form, files={"image": ("blob", photo)}).raise_for_status()
            if number % 4 == 0:
                client.post("/predict", data={"entries": json.dumps(QUERY), "text": "harbour"}).raise_for_status()
            number += 1
            time.sleep(0.4 if number % 40 < 25 else 1.5)


def work(url: str, seconds: float, fail: Callable[[], None] | None) -> None:
    """Several clients, and half-way a fault where `fail` makes one."""
    clients = [threading.Thread(target=index, args=(url, seconds)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    if fail is not None and seconds:
        time.sleep(seconds / 2)
        fail()
    for client in clients:
        client.join()


def shots(chrome: Chrome, url: str, theme: str, whole: bool) -> tuple[Image.Image, Image.Image]:
    """The page down to the end of what it tells of the worker, or with --all to its end; and the test picture tried."""
    look(chrome, f"{url}/status", SIZE, theme)
    end = time.monotonic() + 60
    time.sleep(1)
    page = picture(chrome)
    cut = box_of(chrome, ".pair")[3] + MARGIN
    for _ in range(2):  # the second time, the simulated card has seen it: what stands there is the card's time
        chrome.execute_script("clearPhotos()")
        chrome.find_element(By.ID, "photos").send_keys(str(PHOTO))
        while not chrome.find_element(By.ID, "answer").is_displayed():
            if time.monotonic() > end:
                raise SystemExit(f"no answer: {chrome.find_element(By.ID, 'try-said').text}")
            time.sleep(0.2)
    chrome.execute_script("document.activeElement.blur()")
    tried = picture(chrome)
    left, top, right, bottom = box_of(chrome, "#try")
    around = (round(left) - MARGIN, round(top) - MARGIN, round(right) + MARGIN, round(bottom) + MARGIN)
    return (tried if whole else page.crop((0, 0, page.width, round(cut)))), tried.crop(around)


def picture(chrome: Chrome) -> Image.Image:
    return Image.open(io.BytesIO(whole_page(chrome))).convert("RGB")


def box_of(chrome: Chrome, selector: str) -> Box:
    """Left, top, right and bottom in the whole page."""
    script = (
        "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return [b.left, b.top + scrollY, b.right, b.bottom + scrollY]"
    )
    left, top, right, bottom = chrome.execute_script(script, selector)
    return left, top, right, bottom


def save(shot: Image.Image, file: Path) -> None:
    shot.save(file, quality=82, method=6)
    if (size := file.stat().st_size) > MOST_BYTES:
        raise SystemExit(f"{file} has {size} bytes: more than {MOST_BYTES}")
    print(f"{file}: {shot.width} x {shot.height}, {size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="of a running worker")
    parser.add_argument("--faces", type=Path, help=f"without url: a folder with {DETECTOR} and {EMBEDDER}")
    parser.add_argument("--after", type=float, default=300, help="seconds of photos before (default: %(default)g)")
    parser.add_argument("--to", type=Path, default=PROJECT / "docs", help="folder (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="the whole page")
    parser.add_argument("--theme", choices=THEMES, default="light")
    chosen = parser.parse_args()

    def made(url: str, fail: Callable[[], None] | None) -> None:
        work(url, chosen.after, fail)
        with chromium() as chrome:
            page, tried = shots(chrome, url, chosen.theme, chosen.all)
        save(page, chosen.to / "page.webp")
        save(tried, chosen.to / "try.webp")

    if chosen.url:
        made(chosen.url.rstrip("/"), None)
        return
    with tempfile.TemporaryDirectory() as folder, own_worker(Path(folder), chosen.faces) as (url, fail):
        made(url, fail)


if __name__ == "__main__":
    main()
