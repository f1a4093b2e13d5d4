"""Every bound of the selfcheck: how close is close enough.

`right` are the parity bounds for a quantised card against the same network in floats, from the project's model
contracts. `near` are wider: within them a task still works, though less well than it should; beyond them it is
unusable. The bounds marked "itself" hold for any engine, because they are about what the bundled pictures show.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["right", "near", "WRONG", "not checked"]


@dataclass(frozen=True, slots=True)
class Bound:
    """`what` is measured, in words; `right` and `near` are the worst values that count as such.

    `of`: for a share, the whole it is taken of, as in "5 % of the known words' characters"; else "".
    """

    what: str
    right: float
    near: float
    higher: bool
    of: str = ""

    def verdict(self, value: float) -> Verdict:
        """The verdict on a value; WRONG for NaN."""
        for name, limit in (("right", self.right), ("near", self.near)):
            if value >= limit if self.higher else value <= limit:
                return "right" if name == "right" else "near"
        return "WRONG"

    def show(self, value: float) -> str:
        """Rounded to four places, or for a share to one hundredth of a percent."""
        return f"{round(100 * value, 2):g} %" if self.of else f"{round(value, 4):g}"

    def words(self, value: float) -> str:
        """What was measured, with its value and, for a share, the whole."""
        return f"{self.what} {self.show(value)}" + (f" of {self.of}" if self.of else "")

    @property
    def wanted(self) -> str:
        return f"{'at least' if self.higher else 'at most'} {self.show(self.right)}"


def least(what: str, right: float, near: float, of: str = "") -> Bound:
    """A lower bound."""
    return Bound(what, right, near, True, of)


def most(what: str, right: float, near: float, of: str = "") -> Bound:
    """An upper bound."""
    return Bound(what, right, near, False, of)


COLOURS = least("better than with red and blue swapped by", 0.0, -0.01)
"""A file compiled for the other colour order fits swapped frames better, and may still look nearly right."""

CLIP_VISUAL: Mapping[str, Bound] = {
    "cosine_mean": least("cosine mean", 0.95, 0.88),
    "cosine_least": least("least", 0.90, 0.80),
    "first_ten": least("the same neighbours:", 0.8, 0.6, of="every picture's nearest ten"),
    "copies": most("copies in other qualities within", 0.01, 0.03),
    "colours": COLOURS,
    "apart": most("a face and a page alike by", 0.95, 0.99),  # itself
}
CLIP_TEXTUAL: Mapping[str, Bound] = {
    "cosine_mean": least("cosine mean", 0.97, 0.93),
    "cosine_least": least("least", 0.93, 0.90),
    "apart": most("two queries alike by", 0.97, 0.995),  # itself
}
CLIP_SEARCH: Mapping[str, Bound] = {
    "found": least("picture found for", 0.8, 0.6, of="the known queries"),  # itself
}
FACE_DETECTION: Mapping[str, Bound] = {
    "recall": least("recall", 0.98, 0.90, of="the processor's faces"),
    "precision": least("precision", 0.98, 0.90, of="the card's faces"),
    "iou_mean": least("IoU mean", 0.95, 0.90),
    "iou_p5": least("p5", 0.90, 0.80),
    "landmarks_mean": most("landmarks off by, mean", 0.025, 0.04, of="the face's width"),
    "landmarks_p95": most("p95", 0.05, 0.08, of="the face's width"),
    "scores": most("scores by", 0.05, 0.10),
    "known": least("exactly four faces in", 1.0, 0.75, of="the pictures that have four"),  # itself
    "known_iou": least("IoU with the known boxes", 0.80, 0.60),  # itself
}
FACE_RECOGNITION: Mapping[str, Bound] = {
    "cosine_mean": least("cosine of the same crop mean", 0.95, 0.90),
    "cosine_p5": least("p5", 0.92, 0.80),
    "colours": COLOURS,
    "told_apart": least("the same person nearer than another by", 0.10, 0.0),  # itself
}
OWN_RECOGNITION: Mapping[str, Bound] = {
    "cosine_mean": least("cosine of the same crop mean", 0.95, 0.95),
    "cosine_least": least("least", 0.93, 0.93),
    "colours": COLOURS,
    "told_apart": FACE_RECOGNITION["told_apart"],
}
"""For a HEF of the owner's own, which is to stand in for Immich's network: there is no "near" beside "right".

`compare` calls it one space where 95 % of faces have a cosine of 0.9 with the other worker's, and what a card's
detector does to the landmarks has taken 0.02 to 0.03 of that before the recogniser sees the crop (cosine 0.971 at a
noise of 2 % of the face's width, 0.979 with a detector in 8 bits). So 0.07 is left for the worst crop. At a mean of
0.956, which plain 8 bits gave another embedder, all of 15,400 pairs were still judged alike at distance 0.5.
"""
FACES: Mapping[str, Bound] = {
    "cosine_mean": least("end to end cosine mean", 0.92, 0.85),
    "cosine_p5": least("p5", 0.85, 0.70),
    "same_verdicts": least("the same verdict at distance 0.5 for", 0.99, 0.95, of="all pairs of faces"),
    "told_apart": least("the same person nearer than another by", 0.10, 0.0),  # itself
}
OCR_DETECTION: Mapping[str, Bound] = {
    "mask_iou": least("IoU of the text's area", 0.95, 0.85),
    "colours": COLOURS,
    "known": least("text on the word and none beside for", 0.95, 0.80, of="the known words"),  # itself
}
OCR_RECOGNITION: Mapping[str, Bound] = {
    "cer": most("characters that differ:", 0.02, 0.05, of="the processor's"),
    "scores": most("scores by, mean", 0.03, 0.08),
    "known_cer": most("wrong characters:", 0.05, 0.15, of="the known words'"),  # itself
}
OCR: Mapping[str, Bound] = {
    "boxes": least("in the same place:", 0.97, 0.90, of="the lines of the side that finds more"),
    "cer": most("characters that differ:", 0.02, 0.05, of="the processor's"),
    "scores": most("scores by, mean", 0.03, 0.08),
    "known_cer": most("wrong characters:", 0.05, 0.15, of="the known lines'"),  # itself
}
