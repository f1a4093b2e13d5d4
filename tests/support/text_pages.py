"""Pages of text drawn for the tests and benches: every line's words and corners are known.

Sizes are those of Immich's previews (shorter side 1440 px, JPEG quality 80). Fonts come with packages
of the test extra; Chinese pages need a font of the machine and are left out where there is none.
"""

import importlib.util
import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ml_target.tensors import Float32, UInt8

QUALITY = 80  # of Immich's previews
WORDS = (
    *("lantern", "copper", "harbour", "window", "seventeen", "morning", "river", "kettle", "northern", "bridges"),
    *("carried", "quiet", "market", "Straße", "café", "señor", "naïve", "Größe", "façade", "Zürich", "Malmö", "über"),
    *("déjà", "2026", "1,284.50", "No.", "30.11.", "48%", "train", "under", "odense", "from", "late", "and", "the"),
    *("by", "for", "with", "Wednesday", "invoice", "total", "please", "before", "after", "ticket", "platform"),
)
CHINESE = "山水月日人口大小中文字本田心雨雪風花鳥海川空天地東西南北春夏秋冬金木火土新聞電話駅前店町村市"
CHINESE_FONTS = ("mplfonts/fonts/NotoSansCJKsc-Regular.otf",)
SYSTEM_FONTS = Path("/usr/share/fonts")


@dataclass(frozen=True, slots=True, eq=False)
class PageLine:
    """A line as it was drawn. `corners`: 4 x 2 pixels, from where the text begins, clockwise as it is read."""

    text: str
    corners: Float32


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A picture, H x W x 3 uint8 RGB, and its lines. `kind`: the class it is counted under."""

    name: str
    kind: str
    picture: UInt8
    lines: tuple[PageLine, ...]


@dataclass
class Sheet:
    """A page being drawn."""

    width: int
    height: int
    paper: tuple[int, int, int] = (250, 250, 247)
    ink: tuple[int, int, int] = (25, 25, 30)
    lines: list[PageLine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.image = Image.new("RGB", (self.width, self.height), self.paper)

    def write(self, text: str, x: float, y: float, font: Any, angle: float = 0.0, apart: float = 0.0) -> None:
        """The text with its top-left corner at (x, y), turned by `angle` degrees counter-clockwise around it.

        `apart`: pixels between letters beside what the font has there.
        """
        left, top, right, bottom = (int(n) for n in font.getbbox(text))
        wide, high = right - left + int(apart * (len(text) - 1)), bottom - top
        stencil = Image.new("L", (wide + 4, high + 4))
        draw = ImageDraw.Draw(stencil)
        if apart:
            for n, letter in enumerate(text):
                draw.text((2 - left + font.getlength(text[:n]) + n * apart, 2 - top), letter, 255, font)
        else:
            draw.text((2 - left, 2 - top), text, 255, font)
        radians = np.deg2rad(-angle)
        turn = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
        corners = np.array([(0, 0), (wide, 0), (wide, high), (0, high)]) @ turn.T + (x, y)
        if angle:
            stencil = stencil.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        middle = corners.mean(axis=0)
        place = (round(middle[0] - stencil.width / 2), round(middle[1] - stencil.height / 2))
        self.image.paste(self.ink, place, stencil)
        self.lines.append(PageLine(text, corners.astype(np.float32)))

    def done(self, name: str, kind: str, tilt: float = 0.0, noise: int = 3, seed: int = 0) -> Page:
        """The finished page: seen at an angle where `tilt` is given (a share of its width), noisy, as JPEG."""
        picture, lines = np.array(self.image), self.lines
        if tilt:
            w, h, d = self.width, self.height, tilt * self.width
            given = np.array([(0, 0), (w, 0), (w, h), (0, h)], np.float32)
            seen = np.array([(d, d / 2), (w - d / 4, 0), (w, h - d / 3), (d / 5, h)], np.float32)
            matrix = cv2.getPerspectiveTransform(given, seen)
            picture = np.array(cv2.warpPerspective(picture, matrix, (w, h), borderValue=(90, 80, 70)))
            lines = [
                PageLine(line.text, cv2.perspectiveTransform(line.corners[None], matrix)[0].astype(np.float32))
                for line in lines
            ]
        grain = np.random.default_rng(seed).normal(0, noise, picture.shape)
        return Page(name, kind, _jpeg(np.clip(picture + grain, 0, 255).astype(np.uint8)), tuple(lines))


def _jpeg(picture: UInt8) -> UInt8:
    stored = io.BytesIO()
    Image.fromarray(picture).save(stored, "JPEG", quality=QUALITY)
    return np.array(Image.open(stored).convert("RGB"))


# -------------------------------------------------------------------- fonts


@cache
def latin(serif: bool, size: int) -> Any:
    """A font of the test extra."""
    import font_roboto
    import font_source_serif_pro

    return ImageFont.truetype(font_source_serif_pro.SourceSerifPro if serif else font_roboto.Roboto, size)


@cache
def chinese(size: int) -> Any | None:
    """A font with Chinese characters, or None where the machine has none."""
    return None if (path := _chinese_font()) is None else ImageFont.truetype(str(path), size)


@cache
def _chinese_font() -> Path | None:
    for name in CHINESE_FONTS:
        package = importlib.util.find_spec(name.split("/")[0])
        for place in (package.submodule_search_locations or []) if package else []:
            if (found := Path(place).parent / name).is_file():
                return found
    candidates = (p for p in SYSTEM_FONTS.rglob("*") if "cjk" in p.name.lower() or "wqy" in p.name.lower())
    return next((p for p in sorted(candidates) if p.suffix in (".otf", ".ttf", ".ttc")), None)


# -------------------------------------------------------------------- words


def sentence(words: random.Random, font: Any, width: float) -> str:
    """Words that fill `width` pixels, three at least."""
    text = [words.choice(WORDS) for _ in range(3)]
    while font.getlength(" ".join([*text, following := words.choice(WORDS)])) < width:
        text.append(following)
    return " ".join(text).capitalize() if words.random() < 0.7 else " ".join(text)


def print_page(width: int, height: int, size: int, seed: int, *, rows: int = 14, **sheet: Any) -> Sheet:
    """Rows of sentences of uneven length, spread over the page."""
    words, page = random.Random(seed), Sheet(width, height, **sheet)
    font = latin(seed % 2 == 1, size)
    step = (height - 160) / rows
    for row in range(rows):
        text = sentence(words, font, min(width - 160, size * 0.5 * words.choice((25, 40, 55, 70))))
        slack = max(0, int(width - 140 - font.getlength(text)))
        page.write(text, 70 + words.choice((0, 0, words.randint(0, slack))), 80 + row * step, font)
    return page


def invoice(seed: int) -> Sheet:
    """A form in columns: short items, right-aligned amounts, digits."""
    words, page = random.Random(seed), Sheet(1440, 2037)
    head, font = latin(False, 44), latin(seed % 2 == 1, 22)
    page.write(f"Invoice No. {words.randrange(10_000, 99_999)}", 90, 90, head)
    for row in range(16):
        y = 260 + 78 * row
        page.write(f"{words.randrange(1, 99)}", 90, y, font)
        page.write(f"{words.choice(WORDS)} {words.choice(WORDS)}", 190, y, font)
        page.write(f"{words.randrange(100, 999)}-{words.randrange(1000, 9999)}", 760, y, font)
        amount = f"{words.randrange(1, 999)}.{words.randrange(10, 99)} EUR"
        page.write(amount, 1330 - font.getlength(amount), y, font)
    return page


def signs(seed: int) -> Sheet:
    """Large words, turned: level, upwards, downwards, upside down and askew."""
    words, page = random.Random(seed), Sheet(1440, 1440, paper=(60, 90, 120), ink=(240, 240, 230))
    places = [(60, 80, 0), (140, 1150, 90), (1340, 250, -90), (1250, 1360, 180)]
    places += [(320, 420, 12), (330, 560, -9), (330, 900, 25), (760, 1010, -4), (330, 1190, 5)]
    for n, (x, y, angle) in enumerate(places):
        font = latin(n % 2 == 1, words.randrange(44, 80))
        page.write(" ".join(words.choice(WORDS).capitalize() for _ in range(2)), x, y, font, angle)
    return page


def spaced(seed: int) -> Sheet:
    """Headlines whose letters stand apart by 0.15 to 0.7 em, every second in capitals."""
    words, page = random.Random(seed), Sheet(1920, 1440)
    for row in range(12):
        size, share = words.choice((28, 40, 56)), words.choice((0.15, 0.25, 0.35, 0.5, 0.7))
        font = latin((seed + row) % 4 > 1, size)
        text = ""
        while len(text) < 40:
            longer = f"{text} {words.choice(WORDS)}".lstrip()
            longer = longer.upper() if row % 2 else longer
            if font.getlength(longer) + len(longer) * share * size > 1760:
                break
            text = longer
        page.write(text, 80, 60 + 112 * row, font, apart=share * size)
    return page


def rows(seed: int) -> Sheet:
    """Numbers, single letters and marks in rows, as calendars, scales and chords have them: spaces are what counts."""
    words, page = random.Random(seed), Sheet(1440, 1440)
    for row in range(14):
        kind, size = row % 7, words.choice((24, 32, 40))
        text = (
            " ".join(str(words.randrange(100)) for _ in range(13)),
            "  ".join(str(words.randrange(1, 32)) for _ in range(10)),
            "M T W T F S S M T W T F S S",
            "Never " + " ".join(str(n) for n in range(1, 11)) + " always",
            " ".join(words.choice(("Am", "F", "C", "G", "Dm", "E7")) for _ in range(12)),
            " ".join(words.choice("ABCDE") for _ in range(15)),
            " ".join(f"{words.randrange(10)}" for _ in range(16)),
        )[kind]
        page.write(text, 80, 70 + 94 * row, latin((seed + row) % 2 == 1, size))
    return page


def dense(seed: int) -> Sheet:
    """Three columns of 16 px print: 180 lines."""
    words, page = random.Random(seed), Sheet(1440, 2037)
    font = latin(seed % 2 == 1, 16)
    for column in range(3):
        for row in range(60):
            page.write(sentence(words, font, 330), 60 + 460 * column, 60 + 32 * row, font)
    return page


def characters(seed: int, font: Any) -> Sheet:
    """Rows of Chinese characters, no spaces."""
    words, page = random.Random(seed), Sheet(1440, 1440)
    for row in range(14):
        page.write("".join(words.choice(CHINESE) for _ in range(words.randrange(6, 34))), 80, 90 + 92 * row, font)
    return page


# -------------------------------------------------------------------- pages

KINDS: dict[str, tuple[Callable[[int], Page], ...]] = {
    "portrait page": tuple(
        lambda seed, size=size: print_page(1440, 2037, size, seed, rows=16).done(f"portrait {size} px", "portrait page")  # type: ignore[misc]
        for size in (14, 18, 22, 28)
    ),
    "landscape page": tuple(
        lambda seed, size=size: print_page(1920, 1440, size, seed).done(f"landscape {size} px", "landscape page")  # type: ignore[misc]
        for size in (14, 18, 24)
    ),
    "tall screenshot": tuple(
        lambda seed, size=size: print_page(1440, 3200, size, seed, rows=20, paper=(255, 255, 255)).done(  # type: ignore[misc]
            f"phone {size} px", "tall screenshot", noise=0
        )
        for size in (14, 18, 22, 30, 44)
    ),
    "wide screenshot": tuple(
        lambda seed, size=size: print_page(2560, 1440, size, seed, paper=(30, 30, 34), ink=(220, 220, 220)).done(  # type: ignore[misc]
            f"wide {size} px", "wide screenshot", noise=0
        )
        for size in (14, 16, 24)
    ),
    "invoice": (lambda seed: invoice(seed).done("invoice", "invoice"),),
    "turned signs": (lambda seed: signs(seed).done("signs", "turned signs"),),
    "askew page": (lambda seed: print_page(1440, 1920, 30, seed).done("askew 30 px", "askew page", tilt=0.12),),
    "faint print": (
        lambda seed: print_page(1440, 1920, 26, seed, paper=(200, 198, 190), ink=(150, 146, 140)).done(
            "faint 26 px", "faint print"
        ),
    ),
    "long lines": tuple(
        lambda seed, size=size: _long(seed, size).done(f"long {size} px", "long lines")  # type: ignore[misc]
        for size in (20, 28)
    ),
    "letter-spaced": (lambda seed: spaced(seed).done("letter-spaced", "letter-spaced"),),
    "rows of tokens": (lambda seed: rows(seed).done("rows of tokens", "rows of tokens"),),
    "dense page": (lambda seed: dense(seed).done("dense 16 px", "dense page"),),
    "large print": (lambda seed: print_page(1440, 1440, 90, seed, rows=8).done("large 90 px", "large print"),),
    "small picture": (
        lambda seed: print_page(480, 360, 16, seed, rows=8).done("480 x 360, 16 px", "small picture"),
        lambda seed: print_page(200, 900, 16, seed, rows=12).done("200 x 900, 16 px", "small picture"),
    ),
    "panorama": (lambda seed: print_page(5760, 1440, 40, seed, rows=8).done("panorama 40 px", "panorama"),),
}


def _long(seed: int, size: int) -> Sheet:
    words, page = random.Random(seed), Sheet(2400, 1440)
    font = latin(seed % 2 == 1, size)
    for row in range(10):
        page.write(sentence(words, font, words.choice((900, 1400, 2150))), 80, 100 + 125 * row, font)
    return page


def kinds() -> list[str]:
    """The kinds of pages that can be drawn here; Chinese comes last, where there is a font."""
    return [*KINDS, *(["Chinese"] if _chinese_font() else [])]


def pages_of(kind: str, seed: int = 0) -> Iterator[Page]:
    """One page of each size of a kind."""
    if kind == "Chinese":
        yield characters(seed, chinese(32)).done("Chinese 32 px", "Chinese")
        return
    for number, make in enumerate(KINDS[kind]):
        yield make(seed + number)


def pages(seed: int = 0) -> Iterator[Page]:
    """One page of each kind and size."""
    for kind in kinds():
        yield from pages_of(kind, seed)
