"""`python3 -m ml_target compare`: this worker and another one, asked the same."""

import asyncio
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from ml_target.catalogue.immich import PERSON_DISTANCE
from ml_target.config import Settings, own_url
from ml_target.diagnostics.compare import faces, search, text
from ml_target.diagnostics.compare.asking import FACES, OURS, QUERY, SEARCH, SIDES, TEXT, THEIRS, Answers, Asker, Worker
from ml_target.diagnostics.compare.comparison import Comparison, open_where_one_is_silent, open_without_own_photos
from ml_target.diagnostics.compare.names import CLIP, OCR, alike, announced, choose, status
from ml_target.diagnostics.compare.output import Result, as_json, words
from ml_target.diagnostics.compare.page import page
from ml_target.diagnostics.compare.photos import Photo, bundled, in_folder
from ml_target.errors import UnusableInput
from ml_target.log.private import without_login

TASKS = (SEARCH, FACES, TEXT)
QUERIES = Path(__file__).with_name("queries.txt")
COMPARED, SOMETHING_NOT, BAD_ARGUMENT = 0, 1, 2

DESCRIPTION = """Asks the worker that runs here and another one (Immich's own, an older version, another host) about the
same photos and queries, as Immich would, and says what has to run again in Immich if one replaces the other.

PHOTOS is a folder of your own photos, best of Immich's previews (upload/thumbs): at least 100, better a thousand.
Without it a few bundled pictures show only how alike the vectors are. Nothing is stored by either worker."""
EXAMPLES = """examples:
  %(prog)s http://192.168.1.20:3003 /photos/previews --html compare.html
  %(prog)s http://old-host:3003 /photos --task search --most 2000
  %(prog)s http://old-host:3003 --ours http://127.0.0.1:3004

verdicts, one a task: same space (change at will), ranks alike (searches stay), another space (index again).
Exit code: 0 every task asked for was compared, 1 one was not, 2 an argument is wrong, 130 stopped by Ctrl-C."""


def add_arguments(parser: ArgumentParser) -> None:
    """Adds what `run` reads."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("url", metavar="URL", type=_url, help="the other worker, as it stands in Immich's settings")
    parser.add_argument("photos", metavar="PHOTOS", nargs="?", type=Path, help="a folder of photos")
    parser.add_argument("--ours", metavar="URL", type=_url, help="this worker (default: the one that runs here)")
    parser.add_argument("--task", action="append", choices=TASKS, help="only this task (may be repeated)")
    parser.add_argument("--most", type=_count, default=500, metavar="N", help="photos at most (default: 500)")
    parser.add_argument("--at-once", type=_count, default=2, metavar="N", help="requests at a time (default: 2)")
    parser.add_argument("--timeout", type=_count, default=300, metavar="SECONDS", help="for one request (default: 300)")
    parser.add_argument("--queries", metavar="FILE", type=Path, help="search queries, one a line (default: 40 of ours)")
    parser.add_argument("--clip", metavar="NAME", help="CLIP model (default: the one that this worker announces)")
    parser.add_argument("--their-clip", metavar="NAME", help="CLIP model to ask the other one for (default: the same)")
    parser.add_argument("--faces", default="buffalo_l", metavar="NAME", help="face model (default: %(default)s)")
    parser.add_argument("--ocr", metavar="NAME", help="text model (default: the one that this worker announces)")
    parser.add_argument("--their-ocr", metavar="NAME", help="text model to ask the other one for (default: the same)")
    parser.add_argument(
        "--distance",
        type=_distance,
        default=PERSON_DISTANCE,
        help="largest between faces of a person (default: %(default)s, as in Immich)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, for programs")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page here, with the photos that differ most")


def run(arguments: Namespace, settings: Settings) -> int:
    """Returns 0 when every task asked for was compared, else 1. Raises UnusableInput."""
    tasks = arguments.task or TASKS
    ours = arguments.ours or own_url(settings)
    if _same_place(ours, arguments.url):
        raise UnusableInput(f"{without_login(ours)} would be compared with itself", "Name the other worker's URL.")
    photos, of = in_folder(arguments.photos, arguments.most) if arguments.photos else (bundled(), 0)
    queries = _queries(arguments.queries or QUERIES)
    for file in (arguments.json, arguments.html):
        _check_target(file)
    workers, names = _named(ours, tasks, arguments)
    answers = _asked(workers, photos, queries, tasks, arguments)
    comparisons = [each for task in tasks for each in _compared(task, answers, photos, queries, arguments.distance)]
    if not arguments.photos:
        comparisons = list(map(open_without_own_photos, comparisons))
    result = Result(
        workers,
        names,
        len(photos),
        of,
        tuple(comparisons),
        answers.refused,
        bundled=not arguments.photos,
    )
    print(words(result))
    if arguments.json:
        _write(arguments.json, as_json(result))
    if arguments.html:
        _write(arguments.html, page(result, answers, photos))
        print(f"\nwritten: {arguments.html}")
    return COMPARED if len(comparisons) == len(tasks) else SOMETHING_NOT


def _named(ours: str, tasks: Sequence[str], chosen: Namespace) -> tuple[dict[str, Worker], tuple[str, ...]]:
    """Both workers with the names that they are asked for, and where these are from, in words."""
    page = status(ours)
    twice, here = alike(page, status(chosen.url)), announced(page)
    (clip, search_words), (ocr, text_words) = choose(CLIP, chosen.clip, here), choose(OCR, chosen.ocr, here)
    their_clip, their_ocr = chosen.their_clip or clip, chosen.their_ocr or ocr
    words = {
        SEARCH: search_words + _if_other(their_clip, clip),
        FACES: chosen.faces,
        TEXT: text_words + _if_other(their_ocr, ocr),
    }
    workers = {
        OURS: Worker(ours, clip, chosen.faces, ocr),
        THEIRS: Worker(chosen.url, their_clip, chosen.faces, their_ocr),
    }
    said = [f"asked for {task}: {words[task]}" for task in TASKS if task in tasks]
    return workers, (*said, *filter(None, [twice]))


def _if_other(theirs: str, ours: str) -> str:
    return f"; the other one for {theirs}" if theirs != ours else ""


def _asked(
    workers: dict[str, Worker], photos: Sequence[Photo], queries: Sequence[str], tasks: Sequence[str], chosen: Namespace
) -> Answers:
    total = len(SIDES) * (len(photos) * len(tasks) + len(queries) * (SEARCH in tasks))
    tqdm.monitor_interval = 0  # no monitor thread
    with tqdm(
        total=total, desc="asked", unit=" requests", mininterval=1.0, miniters=1, leave=False, file=sys.stderr
    ) as bar:
        answers = Answers()

        async def asked() -> None:  # asyncio makes words of what it returns, which takes seconds for all answers
            most = min(chosen.at_once, total)
            async with Asker(workers, answers, at_once=most, timeout=chosen.timeout, step=bar.update) as asker:
                await asker.check()
                await asker.ask(photos, queries, tasks)

        asyncio.run(asked())
    return answers


def _compared(
    task: str, answers: Answers, photos: Sequence[Photo], queries: Sequence[str], distance: float
) -> Sequence[Comparison]:
    """The comparison of a task; none where no photo was answered by both."""
    shared = answers.both(task, len(photos))
    if not shared:
        return ()
    ours, theirs = (answers.of(side, task, shared) for side in SIDES)
    alone = [(answers.either(task, len(photos)), len(shared), "photos")]
    if task == FACES:
        comparison = faces.compare(ours, theirs, distance)
    elif task == TEXT:
        comparison = text.compare(ours, theirs)
    else:
        asked = answers.both(QUERY, len(queries))
        alone.append((answers.either(QUERY, len(queries)), len(asked), "queries"))
        comparison = search.compare(ours, theirs, tuple(answers.of(side, QUERY, asked) for side in SIDES))
    return (open_where_one_is_silent(comparison, alone),)


def _queries(file: Path) -> list[str]:
    try:
        found = [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableInput(
            f"{file} cannot be read ({error})", "Name a text file (UTF-8), one query a line."
        ) from error
    if not found:
        raise UnusableInput(f"{file} has no queries", "Write one query a line.")
    return found


def _check_target(file: Path | None) -> None:
    """Before an hour of asking: the result can be written. Leaves no empty file, should it end before that."""
    if file is None:
        return
    try:
        there = file.exists()
        with file.open("a"):
            pass
        if not there:
            file.unlink()
    except OSError as error:
        raise UnusableInput(
            f"{file} cannot be written ({error.strerror})", "Name a file in a writable folder."
        ) from error


def _write(file: Path, content: str) -> None:
    """Raises UnusableInput."""
    try:
        file.write_text(content, "utf-8", "replace")  # a file's name may hold bytes that are no text
    except OSError as error:
        raise UnusableInput(
            f"{file} cannot be written ({error.strerror})", "What it was to show stands above, without the photos."
        ) from error


def _same_place(one: str, other: str) -> bool:
    here, there = (urlsplit(url) for url in (one, other))
    return (here.hostname, here.port, here.path.strip("/")) == (there.hostname, there.port, there.path.strip("/"))


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of its port, or of an address in brackets
        right = False
    if not right:
        raise ArgumentTypeError(f"{value!r} is no URL: it is like http://192.168.1.20:3003")
    return value


def _count(value: str) -> int:
    if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= 100_000):
        raise ArgumentTypeError(f"{value!r}: it takes a whole number from 1 to 100000")
    return int(value)


def _distance(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number <= 2:
        raise ArgumentTypeError(f"{value!r} is no cosine distance: it takes a number above 0, at most 2, such as 0.5")
    return number
