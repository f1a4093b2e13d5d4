"""Lines read one by one, without finding them first."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ml_target.catalogue.networks import OCR_RECOGNITION
from ml_target.log.trace import Trace
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.ocr.ctc import Alphabet
from ml_target.tasks.ocr.read import LineReader
from ml_target.tensors import UInt8


@contextmanager
def reading(network: Any, alphabet: Alphabet) -> Iterator[LineReader]:
    pool, host = Arbiter(1), ThreadPool(1)
    try:
        yield LineReader(
            Model(OCR_RECOGNITION, pool.queue(network, OCR_RECOGNITION.name), Provenance("fake", "", "fake")),
            alphabet,
            host,
        )
    finally:
        host.close()
        pool.close()


def read(reader: LineReader, lines: Sequence[UInt8]) -> list[tuple[str, float]]:
    """Each line as the whole of a picture."""
    found = []
    for line in lines:
        height, width = line.shape[:2]
        corners = np.array([[(0, 0), (width, 0), (width, height), (0, height)]], np.float32)
        found += asyncio.run(reader.read(line, corners, Trace()))
    return found
