"""This project's worker and one of the usual design side by side, each a process with a simulated card of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from hailo_sim.build import constant, fingerprint
from hailo_sim.contracts import group_of
from hailo_sim.costs import cost_of
from hailo_sim.networks import quantise
from hailo_sim.remote import RemoteRig
from hailo_worker import apart, hef_path, models_folder
from project import PROJECT

from ml_target.catalogue.files import OCR_DICTIONARY
from ml_target.catalogue.networks import CLIP_BACKENDS, OCR_RECOGNITION
from ml_target.catalogue.types import TextInput
from ml_target.tasks.clip.tokenizer import open_tokenizer

READ = "speed"
"""What the recogniser reads in every frame, from its left to its right: whatever shares it shows letters."""


@dataclass(frozen=True)
class Side:
    """One worker. `process`: its id."""

    url: str
    rig: RemoteRig
    process: int

    def busy(self) -> float:
        """Seconds its card has worked."""
        return float(sum(self.rig.counts()["busy"].values()))

    def bursts(self) -> dict[str, dict[int, int]]:
        """How many bursts of each size, by network."""
        models = self.rig.counts()["models"]
        return {name: {int(size): n for size, n in counts["bursts"].items()} for name, counts in models.items()}

    def processor(self) -> float:
        """Seconds of processor time that it and its helper have taken."""
        return sum(_taken(process) for process in [self.process, *_children(self.process)])


def longest_burst(bursts: dict[str, dict[int, int]], link: str) -> float:
    """Seconds of the longest burst among them, with the switch to its network."""
    seconds = [0.0]
    for name, sizes in bursts.items():
        cost = cost_of(name, 4, 0, chip="hailo8", link=link)
        seconds += [cost.switch + cost.overhead + size * cost.per_frame for size, number in sizes.items() if number]
    return max(seconds)


@contextmanager
def ours(folder: Path, models: Path, link: str, backend: str, **variables: str) -> Iterator[Side]:
    """This worker, ready."""
    fixed = {"HAILO_SIM_LINK": link, "CLIP_BACKEND": backend, "IMMICH_LOG_LEVEL": "error"}
    with apart(folder, models, None, **fixed, **variables) as worker:
        if not worker.becomes_ready():
            raise SystemExit("this worker did not become ready; its output is above")
        yield Side(str(worker.client.base_url).rstrip("/"), worker.rig, worker.process.pid)


@contextmanager
def usual(folder: Path, models: Path, link: str, backend: str, **variables: str) -> Iterator[Side]:
    """The one of the usual design, ready."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    control = folder / f"usual-{port}"
    support = PROJECT / "tests" / "support"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{support / 'hailo_sim' / 'site'}:{PROJECT}",
        "HAILO_SIM_CONTROL": str(control),
        "HAILO_SIM_LINK": link,
        **variables,
    }
    command = [sys.executable, str(support / "second_worker.py"), str(models), str(port), backend]
    process = subprocess.Popen(command, cwd=PROJECT, env=environment)
    try:
        _wait(process, f"http://127.0.0.1:{port}")
        yield Side(f"http://127.0.0.1:{port}", RemoteRig(control), process.pid)
    finally:
        process.terminate()
        process.wait(60)


def _wait(process: "subprocess.Popen[bytes]", url: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if _answers(url):
            return
        time.sleep(0.05)
    raise SystemExit("the second worker did not become ready; its output is above")


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ping", verify=False).status_code == 200
    except httpx.TransportError:
        return False


# --------------------------------------------------------------------- models


def bench_models(wheel_models: Path, folder: Path, backend: str = "tinyclip") -> Path:
    """All networks of a backend, small; the recogniser reads `READ` in every frame. Once for a process."""
    home = models_folder(wheel_models, folder)
    hef_path(home, OCR_RECOGNITION).write_bytes(_recogniser(home / OCR_DICTIONARY.name))
    clip = CLIP_BACKENDS[backend]
    for network in (clip.visual, clip.textual):
        if not hef_path(home, network).exists():
            hef_path(home, network).write_bytes(fingerprint(network))
    if not (home / clip.text_weights.name).exists():
        _text_side(home, backend)
    return home


def _recogniser(dictionary: Path) -> bytes:
    group = group_of(OCR_RECOGNITION)
    (stream,) = group.outputs
    symbols = dictionary.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    probability = np.zeros(stream.shape)
    steps = probability.reshape(-1, stream.shape[-1])
    steps[:, 0] = 1.0
    for step in range(0, len(steps), 2):
        steps[step, [0, 1 + symbols.index(READ[step // 2 % len(READ)])]] = 0.0, 1.0
    return constant(group, {stream.name: quantise(probability, stream)})


def _text_side(home: Path, backend: str) -> None:
    """A vocabulary and text weights of SigLIP's form, made up."""
    from towers import substitute_pieces

    clip = CLIP_BACKENDS[backend]
    (vocabulary,) = clip.vocabulary
    substitute_pieces(home).rename(home / vocabulary.name)
    spec = clip.textual.input
    assert isinstance(spec, TextInput)
    shapes = {
        "tokens": (open_tokenizer(clip.family, [home / vocabulary.name]).size, spec.width),
        "positions": (spec.tokens, spec.width),
        "norm_weight": (spec.width,),
        "norm_bias": (spec.width,),
        "head_weight": (clip.width, spec.width),
        "head_bias": (clip.width,),
    }
    rng = np.random.default_rng(4)
    made = {name: (rng.random(shape, np.float32) - 0.5).astype(np.float16) for name, shape in shapes.items()}
    np.savez(home / clip.text_weights.name, **made)  # type: ignore[arg-type]


# ------------------------------------------------------------------ processes


def _taken(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _children(process: int) -> list[int]:
    found: list[int] = []
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        found += map(int, file.read_text().split())
    return found
