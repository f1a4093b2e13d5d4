"""Immich's face recogniser on the processor beside the (simulated) card: what a face costs, and what the others lose.

Workers of several settings, each a process with a card of its own, in turn in the same run. The recogniser has the
architecture and size of Immich's (IResNet-50, 174 MB) with seeded weights; every photo has three faces. Prints a
Markdown table: milliseconds of processor time a face, by the difference to a recogniser on the card; then, under full
load (eight clients with pictures, eight with faces, four with pages, a query a second), answers a second of each task
and the time of a query.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

PROJECT = Path(__file__).resolve().parent.parent
SUPPORT = PROJECT / "tests" / "support"
sys.path[:0] = [str(PROJECT), str(PROJECT / "scripts"), str(SUPPORT)]

from bench_host import photos_in  # noqa: E402
from bench_worker import WARM_UP_S, Load, beside_load, forms_of  # noqa: E402
from hailo_worker import FACES  # noqa: E402
from immich_networks import write_w600k_r50  # noqa: E402
from two_workers import Side, bench_models, ours  # noqa: E402

from ml_target.catalogue.networks import BUFFALO_RECOGNIZER  # noqa: E402
from ml_target.diagnostics.clients import closed_loop  # noqa: E402

ON_CARD = "arcface_r50, on the card"
SETTINGS = {
    ON_CARD: {},
    "buffalo_l": {"FACE_RECOGNIZER": "buffalo_l"},
    "buffalo_l, CPU_THREADS=1 CPU_WORKERS=1": {"FACE_RECOGNIZER": "buffalo_l", "CPU_THREADS": "1", "CPU_WORKERS": "1"},
}
TASKS = ("clip.visual", "facial-recognition", "ocr")
HEADING = (
    "| recogniser | CPU ms a face | pictures, 1/s | photos with 3 faces, 1/s | pages, 1/s | query p50 / p95 ms |\n"
    "|---|---|---|---|---|---|"
)
ANY_FILE = f"""
from dataclasses import replace
from ml_target.catalogue import files
# The published file is known by its checksum; this is another one of its form.
files.BUFFALO_RECOGNITION = replace(files.BUFFALO_RECOGNITION, size=None, sha256=None)
assert files.BUFFALO_RECOGNITION.name == {BUFFALO_RECOGNIZER.onnx[0].name!r}
"""


@contextlib.contextmanager
def workers(link: str) -> Iterator[dict[str, Side]]:
    """One of each setting, ready."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as running:
        folder = Path(name)
        models = bench_models(PROJECT / "tests" / ".cache" / "models", folder)
        write_w600k_r50(models / BUFFALO_RECOGNIZER.onnx[0].name)
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(ANY_FILE)
        path = f"{folder / 'site'}:{SUPPORT / 'hailo_sim' / 'site'}:{PROJECT}"
        yield {
            title: running.enter_context(ours(folder, models, link, "tinyclip", PYTHONPATH=path, **settings))
            for title, settings in SETTINGS.items()
        }
        shutil.rmtree(models, ignore_errors=True)


def face_ms(side: Side, forms: Sequence[bytes], seconds: float) -> float:
    """Milliseconds of processor time a request for faces, one after the other."""
    before = side.processor()
    seen = asyncio.run(closed_loop(side.url, [[form] for form in forms], 1, seconds, WARM_UP_S))
    if seen.failed:
        raise SystemExit(f"a request failed: {seen.failed[0]}")
    return 1000 * (side.processor() - before) / seen.turns


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench beside", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--link", choices=("slow", "fast"), default="slow")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="default: tests/test.jpg")
    parser.add_argument("--seconds", type=float, default=8.0, help="a slice (default %(default)g)")
    parser.add_argument("--rounds", type=int, default=3, help="slices of each worker (default %(default)d)")
    chosen = parser.parse_args()
    photos = photos_in(chosen.photos)
    costs: dict[str, list[float]] = defaultdict(list)
    loads: dict[str, list[Load]] = defaultdict(list)
    with workers(chosen.link) as sides:
        forms = forms_of(sides[ON_CARD], photos)
        for number in range(chosen.rounds):
            for title, side in list(sides.items())[:: 1 if number % 2 == 0 else -1]:
                costs[title].append(face_ms(side, forms["facial-recognition"], chosen.seconds / 2))
                loads[title].append(asyncio.run(beside_load(side, forms, chosen.seconds)))
    print(f"{chosen.link} link, {len(photos)} photos, {os.cpu_count()} cores\n\n{HEADING}")
    for title in sides:
        face = (min(costs[title]) - min(costs[ON_CARD])) / len(FACES)
        rates = [f"{median(load.rates[task] for load in loads[title]):.1f}" for task in TASKS]
        query = [f"{median(load.beside.milliseconds(share) for load in loads[title]):.0f}" for share in (0.5, 0.95)]
        print(f"| {title} | {face:.0f} | {' | '.join(rates)} | {' / '.join(query)} |")


if __name__ == "__main__":
    main()
