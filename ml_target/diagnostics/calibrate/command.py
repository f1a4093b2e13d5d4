"""`python3 -m ml_target calibrate`: faces of the owner's own photos, as Hailo's compiler wants them."""

import asyncio
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from ml_target.catalogue.needs import chosen
from ml_target.config import Settings
from ml_target.diagnostics.calibrate.collecting import SHARP, Collected, Wanted, collect
from ml_target.diagnostics.calibrate.output import ARRAY, CROPS, SHEET, require_empty, write
from ml_target.diagnostics.compare.photos import Photo, in_folder
from ml_target.diagnostics.workbench import Workbench
from ml_target.errors import UnusableInput
from ml_target.scheduling.model import Model
from ml_target.tasks.contract import Loading, Offer
from ml_target.tasks.faces.detect import FaceDetector
from ml_target.tasks.faces.task import FACES

COUNT, LEAST, A_PHOTO, SIDE = 1024, 64, 3, 80
"""The compiler wants 1024 for its full optimisation, and collects its statistics from 64 by itself."""

MOST = 8192
EVERY = 10_000_000
"""Photos: all of a folder."""

DESCRIPTION = f"""Finds faces in your own photos and writes them upright, 112 x 112 pixels, as Hailo's compiler wants
them to calibrate a HEF of Immich's own recogniser (docs/compiling.md tells the rest).

PHOTOS is a folder of photos, preferably Immich's previews (upload/thumbs); OUT a new or empty folder. The detector is
the one that FACE_DETECTOR names, on the card or on the processor. A Hailo card serves one program at a time: stop the
worker before, or set ENGINE=cpu. Faces are left out that are small (--side) or blurred (a Laplacian with less than
{SHARP:.0%} of the crop's variance). The same folder gives the same faces."""
EXAMPLES = """examples:
  %(prog)s /photos/upload/thumbs calibration
  %(prog)s /photos calibration --count 2048 --a-photo 1

Exit code: 0 written, 1 nothing was, 2 an argument is wrong, 130 stopped by Ctrl-C."""


def add_arguments(parser: ArgumentParser) -> None:
    """Adds what `run` reads."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("photos", metavar="PHOTOS", type=Path, help="a folder of photos")
    parser.add_argument("out", metavar="OUT", type=Path, help="where the faces go: a new or empty folder")
    parser.add_argument("--count", type=_number(1, MOST), default=COUNT, metavar="N", help=f"faces (default: {COUNT})")
    parser.add_argument(
        "--a-photo",
        type=_number(1, MOST),
        default=A_PHOTO,
        metavar="N",
        help=f"faces of one photo (default: {A_PHOTO})",
    )
    parser.add_argument(
        "--side",
        type=_number(1, 10_000),
        default=SIDE,
        metavar="PIXELS",
        help=f"shorter side of a face in its photo, at least (default: {SIDE})",
    )


def run(arguments: Namespace, settings: Settings) -> int:
    """Returns 0. Raises UnusableInput, Unavailable if the detector's file is missing, DeviceError."""
    wanted = Wanted(arguments.count, arguments.a_photo, arguments.side)
    photos, _ = in_folder(arguments.photos, EVERY)
    require_empty(arguments.out)
    with Workbench(settings) as bench:
        found = _collected(photos, bench, wanted)
    if not found.crops:
        raise UnusableInput(
            f"no face of {wanted.side} pixels was found in {found.photos:,} photos: {_left_out(found, wanted)}",
            "Name a folder with more photos of people, or lower --side.",
        )
    write(arguments.out, found.crops)
    print(_words(found, wanted, arguments.out, len(photos)))
    if warning := _too_few(len(found.crops)):
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def _collected(photos: Sequence[Photo], bench: Workbench, wanted: Wanted) -> Collected:
    detector = bench.load(_offer)
    tqdm.monitor_interval = 0  # no monitor thread
    with tqdm(
        total=wanted.count, desc="faces", unit="", mininterval=1.0, miniters=0, leave=False, file=sys.stderr
    ) as bar:

        def step(found: Collected) -> None:
            bar.set_postfix_str(f"{found.photos:,} of {len(photos):,} photos", refresh=False)
            bar.update(len(found.crops) - bar.n)

        return asyncio.run(collect(photos, detector, bench.pool, wanted, bench.settings.max_pixels, step))


def _offer(loading: Loading) -> Offer[FaceDetector]:
    """The detector alone: the recogniser need not be there."""
    network = next(each for each in chosen(loading.settings) if each.task == FACES.name and each.stage == "detection")

    def load(loading: Loading) -> tuple[FaceDetector, tuple[Model, ...]]:
        settings, model = loading.settings, loading.model(network)
        return FaceDetector(model, loading.pool, settings.max_faces, settings.face_search), (model,)

    return Offer((network,), load)


def _words(found: Collected, wanted: Wanted, out: Path, photos: int) -> str:
    number = len(found.crops)
    return f"""written: {out}
  {number:,} faces of {found.with_crops:,} photos; {found.photos:,} of {photos:,} were looked at
  left out: {_left_out(found, wanted)}
  {ARRAY}  uint8, {number} x 112 x 112 x 3, RGB, as they are: no normalisation
  {CROPS}/           the same as PNG
  {SHEET}        all of them in one picture: look whether these are faces
Next: docs/compiling.md. These are faces of people you know: delete the folder when the HEF is made."""


def _left_out(found: Collected, wanted: Wanted) -> str:
    left = [
        f"{found.small:,} faces under {wanted.side} pixels",
        f"{found.blurred:,} blurred",
        f"{found.beyond:,} beyond the limits of a photo and in all",
    ]
    return ", ".join(left) + (f"; {found.unreadable:,} files that cannot be read" if found.unreadable else "")


def _too_few(number: int) -> str:
    """What to know about a small set; "" if there is nothing."""
    if number < LEAST:
        return (
            f"{number} faces are too few: the compiler takes its statistics from {LEAST} and more, so the HEF will "
            "hardly pass selfcheck. Name a folder with more photos of people, lower --side or raise --a-photo."
        )
    if number < COUNT:
        return f"with fewer than {COUNT} the compiler optimises less, so the HEF may not pass selfcheck."
    return ""


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and low <= int(text) <= high):
            raise ArgumentTypeError(f"{text!r}: it takes a whole number from {low} to {high}")
        return int(text)

    return parse
