"""Makes tests/test.jpg, a notice board with four faces and a few lines of text, and the pictures of the selfcheck.

    python scripts/make_test_picture.py FACES.jpg [tests/test.jpg]

FACES.jpg is `faces_four.jpg` of the photos for tests (AI-made faces, Apache-2.0 source set). The
text is set in the font that comes with Pillow. A JPEG comment lists what is in the picture, so that
tests/test.sh can check the answers. Without a second name, the same board at a smaller size and a
page of labels are written for `ml_target/diagnostics/checks/samples.py`, which knows what is on them.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ml_target.diagnostics.checks import samples

PROJECT = Path(__file__).resolve().parent.parent

SIZE = (1920, 1440)
TILES = [(60 + 460 * n, 420, 440 + 460 * n, 800) for n in range(4)]
TITLE = "HARBOUR MARKET"
NAMES = ["ALMA", "BRUNO", "CARLOS", "DAPHNE"]
LINES = [
    "Saturday 14 September, 9:30 to 17:00",
    "Fresh bread, honey and 25 kinds of cheese",
    "Questions? Call 555-0142",
]
COMMENT = "faces=4 words=HARBOUR,MARKET,BRUNO,DAPHNE,September,honey,cheese,555-0142"
WALL, PAPER, INK, ACCENT = (118, 92, 70), (246, 240, 226), (38, 34, 46), (150, 40, 34)
MAX_BYTES = 300_000


def text(
    draw: ImageDraw.ImageDraw, line: str, middle: tuple[int, int], size: int, colour: tuple[int, int, int]
) -> None:
    draw.text(middle, line, colour, ImageFont.load_default(size), anchor="mm")


def make(faces: Image.Image) -> Image.Image:
    board = Image.new("RGB", SIZE, WALL)
    draw = ImageDraw.Draw(board)
    for y in range(0, SIZE[1], 96):  # planks
        draw.rectangle((0, y, SIZE[0], y + 92), tuple(c + (y // 96 * 37) % 23 for c in WALL))
    draw.rectangle((70, 60, 1850, 1380), PAPER)
    draw.rectangle((90, 80, 1830, 1360), outline=ACCENT, width=6)
    text(draw, TITLE, (960, 200), 150, ACCENT)
    for n, (tile, name) in enumerate(zip(TILES, NAMES, strict=True)):
        x = 126 + 430 * n
        draw.rectangle((x - 8, 322, x + 388, 718), INK)
        board.paste(faces.crop(tile), (x, 330))
        text(draw, name, (x + 190, 780), 56, INK)
    for n, line in enumerate(LINES):
        text(draw, line, (960, 930 + 140 * n), 68, INK)
    return board


def labels() -> Image.Image:
    """The page of words that the selfcheck reads."""
    page = Image.new("RGB", samples.SIZE)
    draw = ImageDraw.Draw(page)
    for number, label in enumerate(samples.LABELS):
        left, top, right, bottom = samples.cell(number)
        draw.rectangle((left, top, right - 1, bottom - 1), label.ground)
        middle = ((left + right) / 2, (top + bottom) / 2)
        draw.text(middle, label.text, label.ink, ImageFont.load_default(label.size), anchor="mm")
    return page


def main() -> None:
    source = Path(sys.argv[1])
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else PROJECT / "tests" / "test.jpg"
    with Image.open(source) as faces:
        board = make(faces.convert("RGB"))
    board.save(target, quality=85, comment=COMMENT)
    if len(sys.argv) == 2:
        board.resize(samples.SIZE, Image.Resampling.LANCZOS).save(samples.BOARD, quality=80)
        labels().quantize(64).save(samples.LABELS_PAGE, optimize=True)
    if target.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{target} has {target.stat().st_size} bytes, more than {MAX_BYTES}; lower the quality")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    main()
