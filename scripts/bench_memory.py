"""Resident memory of the worker: idle, the most under mixed load, and a minute after it, by engine and backend.

The load is Immich's default concurrency: two of search, two of faces, one of text, and somebody who searches. The
processor runs the networks of `scripts/bench processor`, SigLIP's with 4,000 tokens instead of 32,000 (86 MB less); the
card is simulated, so its networks take next to no memory.
`--against` measures another checkout of this project, too, in alternating order. Prints a Markdown table, in MB.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import product
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "scripts"), str(PROJECT / "tests" / "support")]

from bench_processor import MIX, Side, bodies_of, ours, prepare, wheel_files, worker  # noqa: E402
from bench_requests import Client, machine  # noqa: E402
from process_memory import Watch, memory  # noqa: E402
from project import TESTS  # noqa: E402
from two_workers import bench_models  # noqa: E402
from worker_process import free_port  # noqa: E402

from ml_target.catalogue.networks import CLIP_BACKENDS  # noqa: E402
from ml_target.catalogue.types import ClipBackend  # noqa: E402

SETTLED_S = 8.0
"""After the start: longer than the worker waits before it gives memory back."""

MB = 2**20


@contextmanager
def on_the_card(project: Path, backend: ClipBackend) -> Iterator[Side]:
    """A checkout's worker on the simulated card."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        models = bench_models(wheel_files(TESTS / ".cache" / "models"), folder, backend.name)
        settings = {
            "CLIP_BACKEND": backend.name,
            "ENGINE": "hailo",
            "HAILO_SIM_CONTROL": str(folder / "control"),
            "HAILO_SIM_LINK": "slow",
            "IMMICH_HOST": "127.0.0.1",
            "IMMICH_PORT": str(port),
            "IMMICH_LOG_LEVEL": "error",
            "MODELS_DIR": str(models),
        }
        path = f"{PROJECT / 'tests/support/hailo_sim/site'}:{project}"
        command = [sys.executable, "-m", "ml_target"]
        with worker("card", command, project, port, path=path, **settings) as side:
            yield side


def measure(side: Side, bodies: dict[str, list[bytes]], seconds: float, after: float) -> tuple[float, float, float]:
    """Idle, the most under load, and `after` seconds later: MB."""
    time.sleep(SETTLED_S)
    idle = memory(side.process)
    end = time.monotonic() + seconds

    def ask(task: str) -> None:
        client, turn = Client(side.url), 0
        while time.monotonic() < end:
            client.predict(bodies[task][turn % len(bodies[task])])
            turn += 1

    with Watch(side.process) as watch, ThreadPoolExecutor(len(MIX)) as threads:
        for asked in [threads.submit(ask, task) for task in MIX]:
            asked.result()
    time.sleep(after)
    return idle / MB, watch.peak / MB, memory(side.process) / MB


def starting(engine: str, backend: ClipBackend, project: Path, models: Path) -> AbstractContextManager[Side]:
    """A checkout's worker. `models`: the processor's networks."""
    if engine == "hailo":
        return on_the_card(project, backend)
    return ours(backend.name, project, prepare(models, backend), CLIP_BACKEND=backend.name)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="*", type=Path, default=[TESTS / "test.jpg"])
    parser.add_argument("--models", type=Path, default=TESTS / ".cache" / "processor", help="made if it is not there")
    parser.add_argument("--engine", nargs="+", choices=("cpu", "hailo"), default=["cpu", "hailo"])
    parser.add_argument("--backend", nargs="+", choices=("tinyclip", "siglip"), default=["tinyclip", "siglip"])
    parser.add_argument("--seconds", type=float, default=30.0, help="of load")
    parser.add_argument("--after", type=float, default=60.0, help="seconds of rest before the last column")
    parser.add_argument("--against", type=Path, help="another checkout of this project")
    chosen = parser.parse_args()
    checkouts = {"this worker": PROJECT, **({"other checkout": chosen.against.resolve()} if chosen.against else {})}
    print(f"{chosen.seconds:g} s of load, {machine()}\n")
    print(
        f"| engine | backend | worker | idle | most under load | {chosen.after:g} s after |\n|---|---|---|---|---|---|"
    )
    for engine, name, (worker_name, project) in product(chosen.engine, chosen.backend, checkouts.items()):
        backend = CLIP_BACKENDS[name]
        with starting(engine, backend, project, chosen.models) as side:
            idle, most, later = measure(side, bodies_of(chosen.photos, backend), chosen.seconds, chosen.after)
        print(f"| {engine} | {name} | {worker_name} | {idle:.0f} | {most:.0f} | {later:.0f} |", flush=True)


if __name__ == "__main__":
    main()
