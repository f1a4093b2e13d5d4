"""Reading a picture at once, and what of the truth was read."""

import asyncio
from collections.abc import Sequence

from rapidocr_reference import edits

from ml_target.log.trace import Trace
from ml_target.tasks.ocr.reader import Line, ReadOptions, TextReader
from ml_target.tensors import UInt8

OPTIONS = ReadOptions(min_text_score=0.8)  # Immich's defaults


def read(reader: TextReader, picture: UInt8, options: ReadOptions = OPTIONS, trace: Trace | None = None) -> list[Line]:
    """The lines of one picture, and nothing else to do meanwhile."""
    return asyncio.run(reader.read(picture, options, trace or Trace()))


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
