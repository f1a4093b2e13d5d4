"""A whole worker on a simulated card: a folder of small networks, requests with known answers, a crowd of clients."""

import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

import httpx
import numpy as np
from hailo_sim import Rig, simulated
from hailo_sim.build import constant, faces, fingerprint
from hailo_sim.contracts import group_of
from hailo_sim.networks import quantise
from hailo_sim.remote import RemoteRig
from PIL import Image
from serving import live

from ml_target.catalogue import files
from ml_target.catalogue.networks import ARCFACE_R50, OCR_DETECTION, OCR_RECOGNITION, SCRFD_2_5G, TINYCLIP
from ml_target.catalogue.types import Chip, Network
from ml_target.config import PROJECT, Settings
from ml_target.runtime.lifecycle import Worker
from ml_target.tensors import Array

FACES = ((5, 6), (8, 15), (11, 24))
"""Cells of stride 16 with a face, in every picture."""

LINES = ((40, 30, 24, 400), (120, 60, 30, 250))
"""Lines of text in every picture: top, left, height, width in the detector's frame."""

MOST_SLOTS = 8 * (1 + 1 + 1 + len(FACES) + 1 + len(LINES)) + 2 * 6
"""Output arrays with bindings that eight clients may need at a time, and a few that the networks keep."""

WORDS = 49_408
"""CLIP's vocabulary."""

SPEED = 4.0
"""The simulated card works so many times faster, so that a test spends little time waiting."""


# -------------------------------------------------------------------- models


@cache
def models_folder(wheel_models: Path, folder: Path, chip: Chip = "hailo8") -> Path:
    """The folder with all networks of the default settings, made once a test session."""
    home = folder / f"models-{chip}"
    home.mkdir()
    written = [(SCRFD_2_5G, faces(SCRFD_2_5G, FACES, chip=chip)), (OCR_DETECTION, _lines(chip))]
    others = (ARCFACE_R50, OCR_RECOGNITION, TINYCLIP.visual, TINYCLIP.textual)
    written += [(network, fingerprint(network, chip=chip)) for network in others]
    for network, content in written:
        hef_path(home, network, chip).write_bytes(content)
    for file in (files.OCR_DICTIONARY, files.CLIP_VOCABULARY):
        (home / file.name).symlink_to(wheel_models / file.name)
    np.savez(home / files.TINYCLIP_TEXT_WEIGHTS.name, **_text_weights())  # type: ignore[arg-type]
    return home


def hef_path(folder: Path, network: Network, chip: Chip = "hailo8") -> Path:
    """Where the worker looks for a network's file."""
    return folder / network.hef[chip].name


def _lines(chip: str) -> bytes:
    """A text detector that finds the same lines in every picture."""
    group = group_of(OCR_DETECTION)
    (stream,) = group.outputs
    probability = np.zeros(stream.shape)
    for top, left, height, width in LINES:
        probability[top : top + height, left : left + width] = 0.9
    return constant(group, {stream.name: quantise(probability, stream)}, chip=chip)


def _text_weights() -> dict[str, Array]:
    rng = np.random.default_rng(3)

    def made(*shape: int) -> Array:
        return (rng.random(shape, np.float32) - 0.5).astype(np.float16)

    return {
        "tokens": made(WORDS, 512),
        "positions": made(77, 512),
        "norm_weight": made(512),
        "norm_bias": made(512),
        "projection": made(512, 512),
    }


# ------------------------------------------------------------------ requests


@dataclass(frozen=True)
class Ask:
    """One request. `content`: an image's bytes or a text."""

    name: str
    entries: dict[str, Any]
    content: bytes | str

    def send(self, client: httpx.Client) -> httpx.Response:
        form = {"entries": json.dumps(self.entries)}
        if isinstance(self.content, str):
            return client.post("/predict", data={**form, "text": self.content})
        return client.post("/predict", data=form, files={"image": ("photo.jpg", self.content)})


CLIP = {"visual": {"modelName": "ViT-B-32__openai"}}
QUERY = {"textual": {"modelName": "ViT-B-32__openai"}}
FACE = {
    "detection": {"modelName": "buffalo_l", "options": {"minScore": 0.7}},
    "recognition": {"modelName": "buffalo_l"},
}
OCR = {"detection": {"modelName": "PP-OCRv5_mobile"}, "recognition": {"modelName": "PP-OCRv5_mobile"}}


@cache
def mixed(pictures: int = 4) -> tuple[Ask, ...]:
    """Requests of every task, and of several at once, on so many pictures."""
    asks: list[Ask] = []
    for number in range(pictures):
        data = picture(number)
        asks += [
            Ask(f"clip {number}", {"clip": CLIP}, data),
            Ask(f"faces {number}", {"facial-recognition": FACE}, data),
            Ask(f"query {number}", {"clip": QUERY}, f"a photo of {number + 2} dogs"),
            Ask(f"ocr {number}", {"ocr": OCR}, data),
            Ask(f"all {number}", {"clip": CLIP, "facial-recognition": FACE, "ocr": OCR}, data),
        ]
    return tuple(asks)


def picture(number: int) -> bytes:
    """A small JPEG that differs from the others."""
    pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((640, 480)).save(file, "JPEG")
    return file.getvalue()


# -------------------------------------------------------------------- worker


class Served:
    """A worker that answers."""

    client: httpx.Client

    def ping(self) -> int:
        return self.client.get("/ping").status_code

    def alone(self, asks: Sequence[Ask]) -> dict[str, Any]:
        """Every request's answer when nothing else runs."""
        answers: dict[str, Any] = {}
        for ask in asks:
            response = ask.send(self.client)
            assert response.status_code == 200, response.text
            answers[ask.name] = response.json()
        return answers


@dataclass
class Running(Served):
    """A worker in this process, and what belongs to it."""

    rig: Rig
    worker: Worker
    client: httpx.Client

    def wait_ready(self, seconds: float = 30) -> None:
        wait_until(lambda: self.ping() == 200, seconds)


@dataclass
class Apart(Served):
    """A worker in a process of its own, which a fault may end."""

    rig: RemoteRig
    process: "subprocess.Popen[bytes]"
    client: httpx.Client

    def becomes_ready(self, seconds: float = 120) -> bool:
        """False where the process ends before that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                return False
            try:
                if self.ping() == 200:
                    return True
            except httpx.TransportError:
                pass  # it does not listen yet
            time.sleep(0.05)
        raise TimeoutError(f"the worker was not ready within {seconds:g} s")


@contextmanager
def apart(folder: Path, models: Path, stderr: IO[bytes] | None = None, **variables: str) -> Iterator[Apart]:
    """The command `python3 -m ml_target` on a simulated card. `variables`: settings, and those of the simulator."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    control = folder / f"control-{port}"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{PROJECT / 'tests/support/hailo_sim/site'}:{PROJECT}",
        "HAILO_SIM_CONTROL": str(control),
        "ENGINE": "hailo",
        "MODELS_DIR": str(models),
        "IMMICH_HOST": "127.0.0.1",
        "IMMICH_PORT": str(port),
        **variables,
    }
    process = subprocess.Popen([sys.executable, "-m", "ml_target"], cwd=PROJECT, env=environment, stderr=stderr)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, verify=False) as client:
            yield Apart(RemoteRig(control), process, client)
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def running(rig: Rig, models_dir: Path, **settings: Any) -> Iterator[Running]:
    """A worker on the rig, ready. Afterwards nothing may hold the card."""
    with (
        simulated(rig),
        live(settings=Settings(engine="hailo", models_dir=models_dir, host_threads=2, **settings)) as (client, worker),
    ):
        served = Running(rig, worker, client)
        wait_until(lambda: worker.state not in ("loading",), 60)
        assert worker.state == "ready", worker.failure
        yield served
    assert not rig.held
    assert not rig.record.crashes


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Looks every few milliseconds; fails when it has not become true by then."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.02)


def resident() -> int:
    """Bytes of memory this process has resident."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# --------------------------------------------------------------------- crowd


@dataclass
class Tally:
    """What a crowd of clients saw.

    `wrong`: answers that differ from the same request alone. `words`: of refusals. `seconds`: how long each
    answer took. `cut`: connections that ended without an answer.
    """

    answered: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cut: int = 0

    @property
    def total(self) -> int:
        return sum(self.answered.values())


class Crowd:
    """Clients that ask in a closed loop, each beginning at another request.

    `may_end`: the worker's process may; a client then stops, and every request has a connection of its own, as a kept
    one may be closed in the moment it is used again.
    """

    def __init__(
        self, served: Served, asks: Sequence[Ask], expected: dict[str, Any], clients: int = 8, *, may_end: bool = False
    ) -> None:
        self.tally = Tally()
        self._url = str(served.client.base_url)
        self._may_end = may_end
        self._asks = asks
        self._expected = expected
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._client, args=(i,), daemon=True) for i in range(clients)]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Every client gets its last answer."""
        self._stop.set()
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive(), "a request was never answered"
        if self._failed and exc[0] is None:
            raise self._failed[0]

    def wait_for(self, further: int, seconds: float = 60) -> None:
        """Until so many more requests have been answered."""
        goal = self.tally.total + further
        wait_until(lambda: self.tally.total >= goal or bool(self._failed), seconds)

    def _client(self, number: int) -> None:
        limits = httpx.Limits(max_keepalive_connections=0 if self._may_end else None)
        try:
            with httpx.Client(base_url=self._url, timeout=80, limits=limits, verify=False) as client:
                turn = number * len(self._asks) // len(self._threads)
                while not self._stop.is_set():
                    ask = self._asks[turn % len(self._asks)]
                    turn += 1
                    began = time.monotonic()
                    self._note(ask, ask.send(client), time.monotonic() - began)
        except httpx.TransportError as error:
            self._ended(error)
        except BaseException as error:
            self._failed.append(error)

    def _ended(self, error: httpx.TransportError) -> None:
        with self._lock:
            if not self._may_end:
                self._failed.append(error)
            elif not isinstance(error, httpx.ConnectError):  # that one had not been taken: it has lost nothing
                self.tally.cut += 1

    def _note(self, ask: Ask, response: httpx.Response, seconds: float) -> None:
        with self._lock:
            self.tally.seconds.append(seconds)
            self.tally.answered[response.status_code] += 1
            if response.status_code != 200:
                self.tally.words.append(response.text)
            elif response.json() != self._expected[ask.name]:
                self.tally.wrong.append(ask.name)


class Watch:
    """Asks /ping again and again: what it answered, and for how many seconds in all it was not ready."""

    def __init__(self, served: Served, *, may_end: bool = False) -> None:
        self.statuses: list[int] = []
        self.away = 0.0
        self._url = str(served.client.base_url)
        self._may_end = may_end
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _look(self) -> None:
        last = time.monotonic()
        with httpx.Client(base_url=self._url, timeout=60, verify=False) as client:
            while not self._stop.wait(0.02):
                try:
                    status = client.get("/ping").status_code
                except httpx.TransportError:
                    if self._may_end:
                        return
                    raise
                now = time.monotonic()
                self.statuses.append(status)
                self.away += now - last if status == 503 else 0.0
                last = now
