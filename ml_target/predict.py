"""`python3 -m ml_target predict`: one photo or query, answered on the terminal."""

import asyncio
import logging
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from ml_target.config import Settings
from ml_target.drawing import draw
from ml_target.errors import UnusableInput, WorkerError
from ml_target.faces import Face
from ml_target.imaging.picture import decode
from ml_target.ocr import Line, ReadOptions
from ml_target.protocol import encode, faces_result, ocr_result, vector_text
from ml_target.services import Services
from ml_target.tensors import UInt8
from ml_target.trace import Trace
from ml_target.worker import Worker

log = logging.getLogger(__name__)

TASKS = ("clip", "faces", "ocr")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("photo", nargs="?", type=Path, help="a picture file")
    parser.add_argument("--text", help="a search query; answers with its vector")
    parser.add_argument("--task", action="append", choices=TASKS, help="only this task (may be repeated)")
    parser.add_argument("--draw", type=Path, metavar="OUT.jpg", help="draw boxes, landmarks and text on a copy")
    parser.add_argument("--min-face-score", type=float, default=0.7, help="default 0.7, as in Immich")
    parser.add_argument("--min-box-score", type=float, default=0.5, help="text boxes; default 0.5, as in Immich")
    parser.add_argument("--min-text-score", type=float, default=0.8, help="lines of text; default 0.8, as in Immich")
    parser.add_argument("--max-resolution", type=int, default=736, help="for OCR; default 736, as in Immich")
    parser.add_argument("--json", action="store_true", help="the answer as Immich would get it")


def run(arguments: Namespace, settings: Settings) -> int:
    """Returns 0 when every asked task was answered."""
    if arguments.photo is None and arguments.text is None:
        raise UnusableInput("Name a photo, or a query with --text.")
    return asyncio.run(_run(arguments, settings))


async def _run(arguments: Namespace, settings: Settings) -> int:
    worker = Worker(settings)
    try:
        await worker.load()
        services = (await worker.pipeline()).services
        failed = 0
        if arguments.text is not None:
            failed += await _attempt(_query(arguments, services))
        if arguments.photo is not None:
            failed += await _photo(arguments, settings, services)
        return 1 if failed else 0
    finally:
        worker.close()


async def _attempt(work: Any) -> int:
    try:
        await work
    except WorkerError as error:
        print(f"not answered: {error}")
        return 1
    return 0


async def _query(arguments: Namespace, services: Services) -> None:
    service = next(iter(services.clip.values()))
    vector = await service.textual.get().embed(arguments.text, Trace())
    _print(arguments, {"clip": vector_text(vector)}, f"query: {vector.size} numbers in space {service.backend.name}")


async def _photo(arguments: Namespace, settings: Settings, services: Services) -> int:
    picture = decode(_read(arguments.photo), settings.max_pixels)
    faces: list[Face] = []
    lines: list[Line] = []

    async def clip() -> None:
        service = next(iter(services.clip.values()))
        vector = await service.visual.get().embed(picture, Trace())
        words = f"clip: {vector.size} numbers in space {service.backend.name}"
        _print(arguments, {"clip": vector_text(vector)}, words)

    async def find() -> None:
        faces.extend(await services.faces.get().find(picture, arguments.min_face_score, Trace()))
        boxes = [f"  {f.score:.3f}  {' '.join(f'{n:.0f}' for n in f.box)}" for f in faces]
        _print(arguments, {"facial-recognition": faces_result(faces)}, f"faces: {len(faces)}", *boxes)

    async def read() -> None:
        options = ReadOptions(arguments.min_box_score, arguments.max_resolution, arguments.min_text_score)
        lines.extend(await services.ocr.get().read(picture, options, Trace()))
        texts = [f"  {line.text_score:.3f}  {line.text}" for line in lines]
        _print(arguments, {"ocr": ocr_result(lines)}, f"lines of text: {len(lines)}", *texts)

    chosen = arguments.task or TASKS
    failed = 0
    for name, work in zip(TASKS, (clip, find, read), strict=True):
        if name in chosen:
            failed += await _attempt(work())
    if arguments.draw:
        _draw(picture, faces, lines, arguments.draw)
    return failed


def _read(photo: Path) -> bytes:
    try:
        return photo.read_bytes()
    except OSError as error:
        raise UnusableInput(f"{photo} cannot be read ({error.strerror}). Name a picture file.") from error


def _draw(picture: UInt8, faces: list[Face], lines: list[Line], out: Path) -> None:
    try:
        draw(picture, faces, lines, out)
    except (OSError, ValueError) as error:
        raise UnusableInput(f"{out} cannot be written ({error}). Name a .jpg or .png in a writable folder.") from error
    print(f"drawn: {out}")


def _print(arguments: Namespace, answer: dict[str, Any], *words: str) -> None:
    print(encode(answer).decode() if arguments.json else "\n".join(words))
