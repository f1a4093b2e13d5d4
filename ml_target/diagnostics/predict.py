"""`python3 -m ml_target predict`: one photo or query, answered on the terminal."""

import asyncio
import math
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ml_target.catalogue.types import ClipBackend
from ml_target.config import Settings
from ml_target.diagnostics.drawing import check_target, draw
from ml_target.diagnostics.own_words import OWN_WORDS
from ml_target.diagnostics.workbench import Workbench
from ml_target.errors import UnusableInput, WorkerError
from ml_target.imaging.picture import decode
from ml_target.log.terminal import printable_json
from ml_target.log.trace import Trace
from ml_target.runtime.protocol import encode
from ml_target.tasks.clip.task import CLIP, chosen_backends
from ml_target.tasks.contract import Task
from ml_target.tasks.faces.task import FACES
from ml_target.tasks.ocr.task import MAX_RESOLUTION, OCR
from ml_target.tasks.register import TASKS
from ml_target.tensors import UInt8

DESCRIPTION = """Answers for one photo or one search query, without Immich and without a running worker.

The picture is checked before anything is loaded, and only what is asked for is loaded. A Hailo card serves one
program at a time: stop the worker before this looks at a photo on the card, or set ENGINE=cpu."""
EXAMPLES = """examples:
  %(prog)s photo.jpg
  %(prog)s photo.jpg --task faces --task ocr --draw marked.jpg
  %(prog)s --text "a dog on a beach"

Settings come from environment variables, as the worker's do; the help of `serve` lists them.
Exit code: 0 everything asked for was answered, 1 something was not, 2 an argument is wrong."""


def add_arguments(parser: ArgumentParser) -> None:
    """Adds what `run` reads."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.set_defaults(refuse=parser.error)
    parser.add_argument("photo", nargs="?", type=Path, help="a picture file")
    parser.add_argument("--text", help="a search query; answers with its vector")
    parser.add_argument(
        "--task",
        action="append",
        choices=[task.short for task in TASKS],
        help="only this task (may be repeated; default: all)",
    )
    parser.add_argument("--draw", type=Path, metavar="OUT.jpg", help="mark what was found on a copy of the photo")
    parser.add_argument(
        "--min-face-score", type=_score, default=0.7, metavar="0..1", help="faces; default 0.7, as in Immich"
    )
    parser.add_argument(
        "--min-box-score", type=_score, default=0.5, metavar="0..1", help="text boxes; default 0.5, as in Immich"
    )
    parser.add_argument(
        "--min-text-score", type=_score, default=0.8, metavar="0..1", help="lines of text; default 0.8, as in Immich"
    )
    parser.add_argument(
        "--max-resolution",
        type=_resolution,
        default=736,
        metavar="PIXELS",
        help="shorter side at which text is looked for; default 736, as in Immich",
    )
    parser.add_argument("--json", action="store_true", help="the answer as Immich would get it, one line a request")


def _check(arguments: Namespace) -> None:
    """Exits with the parser's error and code 2 if arguments contradict each other."""
    if arguments.photo is None and arguments.text is None:
        arguments.refuse("name a photo, or a query with --text")
    if arguments.photo is None:
        for name in ("task", "draw"):
            if getattr(arguments, name):
                arguments.refuse(f"--{name} is about a photo: name one")
    if arguments.text is not None and not arguments.text.strip():
        arguments.refuse("--text is empty: name something to search for")


def run(arguments: Namespace, settings: Settings) -> int:
    """Returns 0 when everything asked for was answered, else 1. Raises UnusableInput for a file that is not a photo."""
    _check(arguments)
    picture = _check_photo(arguments, settings)
    with Workbench(settings) as bench:
        return asyncio.run(_Command(arguments, bench).answer(picture))


def _check_photo(arguments: Namespace, settings: Settings) -> UInt8 | None:
    """The photo's pixels, H x W x 3 uint8 RGB. Also checks that the drawing can be written."""
    if arguments.photo is None:
        return None
    picture = decode(_read(arguments.photo), settings.max_pixels)
    if arguments.draw:
        check_target(arguments.draw, arguments.photo)
    return picture


def _read(photo: Path) -> bytes:
    try:
        if photo.exists() and not photo.is_file():  # a folder, or a device that never ends
            raise UnusableInput(f"{photo} is not a file", "Name a picture file.")
        return photo.read_bytes()
    except OSError as error:
        raise UnusableInput(f"{photo} cannot be read ({error.strerror})", "Name a picture file.") from error


class _Command:
    """One run: loads a task, answers it, and goes on with the next."""

    def __init__(self, arguments: Namespace, bench: Workbench) -> None:
        self._arguments = arguments
        self._bench = bench
        self._failed = 0
        self._backend: ClipBackend = chosen_backends(bench.loader)[0]
        self._seen: dict[str, Any] = {}

    async def answer(self, picture: UInt8 | None) -> int:
        if self._arguments.text is not None:
            self._print_json(await self._attempt(self._query))
        if picture is not None:
            await self._photo(picture)
        return 1 if self._failed else 0

    async def _photo(self, picture: UInt8) -> None:
        answer: dict[str, Any] = {}
        for task in TASKS:
            if not self._arguments.task or task.short in self._arguments.task:
                answer |= await self._attempt(partial(self._look, task, picture))
        if answer:
            self._print_json({**answer, "imageHeight": picture.shape[0], "imageWidth": picture.shape[1]})
        if self._arguments.draw:
            faces, lines = (self._seen.get(task.name, ()) for task in (FACES, OCR))
            draw(picture, faces, lines, self._arguments.draw)
            self._print_words(f"drawn: {self._arguments.draw}")

    async def _attempt(self, work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """The answer; if there is none, {} and a message on standard error."""
        try:
            return await work()
        except WorkerError as error:
            print(f"not answered: {error}", file=sys.stderr)
            self._failed += 1
            return {}

    # ------------------------------------------------------------------ tasks

    async def _query(self) -> dict[str, Any]:
        encoder = self._bench.load(lambda loader: CLIP.texts(self._backend))
        vector = await encoder.embed(self._arguments.text, Trace())
        self._print_words(f"query: {vector.size} numbers in space {self._backend.name}")
        return {CLIP.name: CLIP.encode(vector)}

    async def _look(self, task: Task[Any, Any], picture: UInt8) -> dict[str, Any]:
        """What the task's first variant answers for the picture."""
        offer, own = task.offers(self._bench.loader)[0], OWN_WORDS.get(task.name)
        job = task.plain_job()
        if own and own.options:
            job = replace(job, options=own.options(self._arguments))
        result = await task.run(job, self._bench.load(lambda loader: offer), picture, Trace())
        answer = task.encode(result)
        self._seen[task.name] = result
        plain = [f"{task.short}: {printable_json(encode(answer).decode())}"]
        self._print_words(*(own.lines(result, offer.variant) if own else plain))
        return {task.name: answer}

    # ----------------------------------------------------------------- output

    def _print_words(self, *words: str) -> None:
        if not self._arguments.json:
            print("\n".join(words))

    def _print_json(self, answer: dict[str, Any]) -> None:
        if self._arguments.json and answer:
            print(printable_json(encode(answer).decode()))


def _score(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text!r} is no score: it takes a number from 0 to 1, such as 0.7")
    return value


def _resolution(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MAX_RESOLUTION):
        raise ArgumentTypeError(f"{text!r} is no resolution: it takes whole pixels from 1 to {MAX_RESOLUTION}")
    return int(text)
