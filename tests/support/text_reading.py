"""Reading a picture at once, and what of the truth was read."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pictures import read_rgb
from rapidocr_reference import edits
from shared_once import shared_once

from ml_target.catalogue.networks import OCR_DETECTION, OCR_RECOGNITION
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.log.trace import Trace
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.ocr.ctc import Alphabet
from ml_target.tasks.ocr.reader import Line, ReadOptions, TextReader
from ml_target.tensors import UInt8

OPTIONS = ReadOptions(min_text_score=0.8)  # Immich's defaults


def read(reader: TextReader, picture: UInt8, options: ReadOptions = OPTIONS, trace: Trace | None = None) -> list[Line]:
    """The lines of one picture, and nothing else to do meanwhile."""
    return asyncio.run(reader.read(picture, options, trace or Trace()))


@contextmanager
def cpu_reader(models: Path) -> Iterator[TextReader]:
    """The CPU engine's, at free sizes."""
    engine, host, pool = OnnxEngine(threads=2), ThreadPool(2), Arbiter(1)
    files = ((OCR_DETECTION, "ppocrv5_mobile_det.onnx"), (OCR_RECOGNITION, "ppocrv5_mobile_rec.onnx"))
    found, read = (
        Model(network, pool.queue(engine.open(models / file, network), network.name), Provenance(file, "", "cpu"))
        for network, file in files
    )
    try:
        yield TextReader(found, read, Alphabet.from_file(models / "ppocrv5_dict.txt"), host, 1000, 16)
    finally:
        host.close()
        pool.close()


class PhotoLines:
    """What the CPU engine reads of a real photo at free sizes: several files of tests compare with it."""

    def __init__(self, factory: pytest.TempPathFactory, models: Path, photos: Path) -> None:
        self._factory, self._models, self._photos = factory, models, photos
        self.of = cache(self._of)

    def _of(self, name: str) -> list[Line]:
        folder = shared_once(self._factory, f"lines of {name}", lambda folder: self._read(name, folder))
        lines = json.loads((folder / "lines.json").read_text(encoding="utf-8"))
        return [Line(text, np.array(corners, np.float32), *scores) for text, corners, scores in lines]

    def _read(self, name: str, folder: Path) -> None:
        with cpu_reader(self._models) as reader:
            lines = read(reader, read_rgb(self._photos / f"{name}.jpg"))
        told = [[line.text, line.corners.tolist(), [line.box_score, line.text_score]] for line in lines]
        (folder / "lines.json").write_text(json.dumps(told), encoding="utf-8")


def errors_against_truth(lines: Sequence[Line], truth: Sequence[str]) -> tuple[int, int]:
    """(rendered lines that were read, wrong letters in them), each line read used once."""
    left, missing = [line.text for line in lines], []
    found = wrong = 0
    for wanted in truth:
        if wanted in left:
            left.remove(wanted)
            found += 1
        else:
            missing.append(wanted)
    for wanted in missing:
        best = min(left, key=lambda text: edits(text, wanted), default=None)
        if best is not None and edits(best, wanted) <= len(wanted) // 4:
            left.remove(best)
            found += 1
            wrong += edits(best, wanted)
    return found, wrong
