"""Compares this worker's tasks with the implementations that Immich's own worker is built on, in one process.

Both sides get the same decoded photo, the same networks and the same number of threads, in turn,
A B A B …; the ratio is taken pair by pair, so it holds when the machine's speed drifts. Prints a
Markdown table: medians in milliseconds, and ours divided by the reference's.
Needs what `./setup.sh test` installs, and the face networks to measure faces.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

from insightface_reference import InsightFace  # noqa: E402
from rapidocr_reference import RapidOcrReader  # noqa: E402

from ml_target.catalogue import networks  # noqa: E402
from ml_target.catalogue.files import OCR_DICTIONARY, OCR_RECOGNITION_FREE, SCRFD_2_5G_ONNX, STAND_IN_EMBEDDER  # noqa: E402
from ml_target.catalogue.types import Network  # noqa: E402
from ml_target.config import Settings  # noqa: E402
from ml_target.engines.onnx.engine import OnnxEngine  # noqa: E402
from ml_target.imaging.picture import decode  # noqa: E402
from ml_target.log.trace import Trace  # noqa: E402
from ml_target.scheduling.arbiter import Arbiter  # noqa: E402
from ml_target.scheduling.model import Model, Provenance  # noqa: E402
from ml_target.scheduling.threads import ThreadPool  # noqa: E402
from ml_target.store.command import open_store  # noqa: E402
from ml_target.tasks.faces.finder import FaceFinder  # noqa: E402
from ml_target.tasks.ocr.ctc import Alphabet  # noqa: E402
from ml_target.tasks.ocr.reader import ReadOptions, TextReader  # noqa: E402
from ml_target.tensors import UInt8  # noqa: E402

THREADS = 2
Side = Callable[[UInt8], object]
AsyncSide = Callable[[UInt8], Awaitable[object]]


def pairs(host: ThreadPool, arbiter: Arbiter) -> Iterator[tuple[str, AsyncSide, Side]]:
    """Task, ours, and the reference's, for each task whose files are there."""
    store = open_store(Settings.from_environment(), None)
    engine = OnnxEngine(THREADS)

    def model(network: Network, path: Path) -> Model:
        return Model(
            network, arbiter.queue(engine.open(path, network), network.name), Provenance(path.name, "", engine.name)
        )

    detector, embedder = store.find(SCRFD_2_5G_ONNX), store.find(STAND_IN_EMBEDDER)
    if detector and embedder:
        finder = FaceFinder(
            model(networks.SCRFD_2_5G, detector), model(networks.STAND_IN_EMBEDDER, embedder), host, 500
        )
        insightface = InsightFace(detector, embedder)

        def reference_faces(picture: UInt8) -> object:
            found = insightface.find(picture, 0.7)
            return [insightface.describe(insightface.crop(picture, points)) for points in found.landmarks]

        yield "faces / insightface", lambda picture: finder.find(picture, 0.7, Trace()), reference_faces
    recognizer, dictionary = store.find(OCR_RECOGNITION_FREE), store.find(OCR_DICTIONARY)
    if recognizer and dictionary:
        reader = TextReader(
            model(networks.OCR_DETECTION, recognizer.with_name("ppocrv5_mobile_det.onnx")),
            model(networks.OCR_RECOGNITION, recognizer),
            Alphabet.from_file(dictionary),
            host,
            1000,
            16,
        )
        rapidocr = RapidOcrReader(recognizer.parent)
        options = ReadOptions(min_text_score=0.8)
        yield (
            "ocr / rapidocr",
            lambda picture: reader.read(picture, options, Trace()),
            lambda picture: rapidocr.read(picture, 0.8),
        )


async def compare(photos: list[Path], repeats: int) -> None:
    host, arbiter = ThreadPool(THREADS), Arbiter(1)
    print(f"{THREADS} threads, {repeats} pairs a row\n")
    print("| task | photo | ours, ms | reference, ms | ratio |\n|---|---|---|---|---|")
    try:
        for task, ours, reference in pairs(host, arbiter):
            for photo in photos:
                picture = decode(photo.read_bytes(), 200_000_000)
                times: list[tuple[float, float]] = []
                for _ in range(repeats + 1):
                    start = time.perf_counter()
                    await ours(picture)
                    middle = time.perf_counter()
                    reference(picture)
                    times.append((middle - start, time.perf_counter() - middle))
                warm = times[1:]
                a, b = (statistics.median(side) * 1000 for side in zip(*warm, strict=True))
                ratio = statistics.median(x / y for x, y in warm)
                print(f"| {task} | {photo.name} | {a:.0f} | {b:.0f} | {ratio:.2f} |", flush=True)
    finally:
        arbiter.close()
        host.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench reference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="*", type=Path, default=[PROJECT / "tests" / "test.jpg"])
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    asyncio.run(compare(chosen.photos, chosen.repeats))


if __name__ == "__main__":
    main()
