"""Compares text reading at the Hailo engine's fixed sizes with the official worker's free sizes, on the same networks.

Pages are drawn for the run (tests/support/text_pages.py: fonts, 14 to 90 px, faint, rotated, askew, JPEG 80), so
their words and corners are known; the photos in ../shared/photos are read too, if they are there. Prints three Markdown
tables: accuracy by kind of page, tile budgets with their device time, and the host's time for post-processing compared
with RapidOCR's on the same tensors. CER: wrong, missing and additional letters, divided by the letters drawn.
"""

import argparse
import sys
import tempfile
from functools import reduce
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

from decoding_cost import Cost, measure  # noqa: E402
from rapidocr_reference import RapidOcrReader  # noqa: E402
from reading_sides import Official, Work, card_sides, photo_pages, score  # noqa: E402
from text_pages import Page, pages  # noqa: E402
from text_score import Score  # noqa: E402

from ml_target.catalogue.files import OCR_DICTIONARY, OCR_RECOGNITION_FREE  # noqa: E402
from ml_target.config import Settings  # noqa: E402
from ml_target.store.command import open_store  # noqa: E402

SLOWED = "0.25"
"""How fast the card is: a small frame then keeps it busy until all of a burst is there, on a busy machine, too."""

BUDGET = 16  # the default of MAX_TEXT_TILES


def models() -> Path:
    """The folder with the plain networks."""
    store = open_store(Settings.from_environment(), None)
    recognizer, dictionary = store.find(OCR_RECOGNITION_FREE), store.find(OCR_DICTIONARY)
    if recognizer and dictionary:
        return recognizer.parent
    cache = PROJECT / "tests" / ".cache" / "models"
    if (cache / OCR_RECOGNITION_FREE.name).is_file():
        return cache
    sys.exit("The OCR networks are not here. Run: .venv/bin/python -m ml_target models fetch --engine cpu")


def total(scores: dict[str, Score]) -> Score:
    return reduce(Score.sum, scores.values())


def accuracy(theirs: dict[str, Score], ours: dict[str, Score], works: dict[str, Work]) -> None:
    print(
        "\n| pages | lines | recall | precision | CER % | without spaces | exact lines | spaces F1 | pieces a line ",
        end="",
    )
    print("| box error | bursts | device ms, fast / slow link |\n|---|---|---|---|---|---|---|---|---|---|---|---|")
    both = [(kind, theirs[kind], ours[kind], works[kind]) for kind in theirs]
    everything = Work(
        sum(w.pages for w in works.values()), reduce(lambda a, b: a + b, (w.bursts for w in works.values()))
    )
    for kind, a, b, work in [*both, ("**all**", total(theirs), total(ours), everything)]:
        cells = [
            f"{a.recall:.3f} → {b.recall:.3f}",
            f"{a.precision:.3f} → {b.precision:.3f}",
            f"{100 * a.error_rate:.2f} → {100 * b.error_rate:.2f}",
            f"{100 * a.error_rate_without_spaces:.2f} → {100 * b.error_rate_without_spaces:.2f}",
            f"{a.exact} → {b.exact}",
            f"{a.spaces_f1:.3f} → {b.spaces_f1:.3f}",
            f"{a.pieces_a_line:.2f} → {b.pieces_a_line:.2f}",
            f"{a.box_error:.2f} → {b.box_error:.2f}" if b.box_errors else "",
            f"{work.bursts_a_page:.1f}",
            f"{work.device_ms('fast'):.0f} / {work.device_ms('slow'):.0f}",
        ]
        print(f"| {kind} | {a.lines} | {' | '.join(cells)} |", flush=True)


def budgets(sides: dict[int, tuple[dict[str, Score], dict[str, Work]]], official: Score) -> None:
    print("\n| tiles at most | lines found | CER % | tiles a picture | device ms to find text, fast / slow |")
    print("|---|---|---|---|---|")
    print(f"| official, free size | {official.found} of {official.lines} | {100 * official.error_rate:.2f} | | |")
    for budget, (scores, works) in sides.items():
        sums = total(scores)
        finding = Work(sum(w.pages for w in works.values()))
        for work in works.values():
            finding.bursts.update({key: n for key, n in work.bursts.items() if "detection" in key[0]})
        tiles = sum(size * count for (_, size), count in finding.bursts.items()) / finding.pages
        found = f"{sums.found} of {sums.lines} | {100 * sums.error_rate:.2f}"
        ms = f"{finding.device_ms('fast'):.0f} / {finding.device_ms('slow'):.0f}"
        print(f"| {budget} | {found} | {tiles:.1f} | {ms} |", flush=True)


def host(costs: list[Cost]) -> None:
    print("\n| post-processing, processor ms a page | this worker | RapidOCR | ratio |\n|---|---|---|---|")
    for name in dict.fromkeys(cost.name for cost in costs):
        ours, theirs = (sum(getattr(c, side) for c in costs if c.name == name) for side in ("ours", "theirs"))
        count = sum(c.name == name for c in costs)
        print(f"| {name} | {1000 * ours / count:.2f} | {1000 * theirs / count:.2f} | {ours / theirs:.2f} |")
    ours, theirs = sum(c.ours for c in costs), sum(c.theirs for c in costs)
    print(f"| **both** | | | {ours / theirs:.2f} |", flush=True)


def run(corpus: list[Page], tiles: list[int]) -> None:
    folder = models()
    reference = RapidOcrReader(folder)
    theirs = score(Official(reference), corpus)
    results: dict[int, tuple[dict[str, Score], dict[str, Work]]] = {}
    with tempfile.TemporaryDirectory() as scratch, card_sides(Path(scratch), folder, tiles, SLOWED) as sides:
        for budget, side in sides.items():
            results[budget] = (score(side, corpus), side.works)
    accuracy(theirs, *results[tiles[-1]])
    budgets(results, total(theirs))
    host(measure(corpus, reference))


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench accuracy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=positive, default=1, help="how often each page is drawn, with new words")
    parser.add_argument(
        "--tiles",
        type=positive,
        nargs="+",
        default=[1, 2, BUDGET],
        help="tile budgets; the last is detailed",
    )
    parser.add_argument("--photos", type=Path, default=PROJECT.parent / "shared" / "photos")
    chosen = parser.parse_args()
    corpus = [page for seed in range(chosen.seeds) for page in pages(100 * seed)]
    if chosen.photos.is_dir():
        corpus += photo_pages(chosen.photos)
    else:
        print(f"(no photos in {chosen.photos}: drawn pages only)")
    run(corpus, chosen.tiles)


if __name__ == "__main__":
    main()
