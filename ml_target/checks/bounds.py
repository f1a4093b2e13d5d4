"""How near is near enough: every bound of the selfcheck.

`right` are the parity bounds for a quantised card against the same network in floats, from the project's model
contracts. `near` are wider: there a task still works, though less well than it should; beyond them no one could
rely on it. The bounds marked "itself" hold for any engine, because they are about what the bundled pictures show.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["right", "near", "WRONG", "not checked"]


@dataclass(frozen=True, slots=True)
class Bound:
    """`what` is measured, in words; `right` and `near` are the worst values that count as such."""

    what: str
    right: float
    near: float
    higher: bool
    percent: bool = False

    def verdict(self, value: float) -> Verdict:
        """WRONG for what is no number."""
        for name, limit in (("right", self.right), ("near", self.near)):
            if value >= limit if self.higher else value <= limit:
                return "right" if name == "right" else "near"
        return "WRONG"

    def show(self, value: float) -> str:
        """To four places, or as a share to one hundredth of a percent."""
        return f"{round(100 * value, 2):g} %" if self.percent else f"{round(value, 4):g}"

    @property
    def wanted(self) -> str:
        return f"{'at least' if self.higher else 'at most'} {self.show(self.right)}"


def least(what: str, right: float, near: float, percent: bool = False) -> Bound:
    """A bound from below."""
    return Bound(what, right, near, True, percent)


def most(what: str, right: float, near: float, percent: bool = False) -> Bound:
    """A bound from above."""
    return Bound(what, right, near, False, percent)


COLOURS = least("better than with red and blue swapped by", 0.0, -0.01)
"""A file compiled for the other order of colours fits swapped frames better, and may still look nearly right."""

CLIP_VISUAL: Mapping[str, Bound] = {
    "cosine_mean": least("cosine mean", 0.95, 0.88),
    "cosine_least": least("least", 0.90, 0.80),
    "first_ten": least("nearest ten pictures the same", 0.8, 0.6, percent=True),
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
    "found": least("queries that find their picture", 0.8, 0.6, percent=True),  # itself
}
FACE_DETECTION: Mapping[str, Bound] = {
    "recall": least("recall", 0.98, 0.90),
    "precision": least("precision", 0.98, 0.90),
    "iou_mean": least("IoU mean", 0.95, 0.90),
    "iou_p5": least("p5", 0.90, 0.80),
    "landmarks_mean": most("landmarks off by, of the face's width, mean", 0.025, 0.04, percent=True),
    "landmarks_p95": most("p95", 0.05, 0.08, percent=True),
    "scores": most("scores by", 0.05, 0.10),
    "known": least("pictures with exactly their four faces", 1.0, 0.75, percent=True),  # itself
    "known_iou": least("IoU with the known boxes", 0.80, 0.60),  # itself
}
FACE_RECOGNITION: Mapping[str, Bound] = {
    "cosine_mean": least("cosine of the same crop mean", 0.95, 0.90),
    "cosine_p5": least("p5", 0.92, 0.80),
    "colours": COLOURS,
    "told_apart": least("the same person nearer than another by", 0.10, 0.0),  # itself
}
FACES: Mapping[str, Bound] = {
    "cosine_mean": least("end to end cosine mean", 0.92, 0.85),
    "cosine_p5": least("p5", 0.85, 0.70),
    "same_verdicts": least("pairs with the same verdict at distance 0.5", 0.99, 0.95, percent=True),
    "told_apart": least("the same person nearer than another by", 0.10, 0.0),  # itself
}
OCR_DETECTION: Mapping[str, Bound] = {
    "mask_iou": least("IoU of the text's area", 0.95, 0.85),
    "colours": COLOURS,
    "known": least("known words with text on them and none beside", 0.95, 0.80, percent=True),  # itself
}
OCR_RECOGNITION: Mapping[str, Bound] = {
    "cer": most("characters that differ", 0.02, 0.05, percent=True),
    "scores": most("scores by, mean", 0.03, 0.08),
    "known_cer": most("against the known words", 0.05, 0.15, percent=True),  # itself
}
OCR: Mapping[str, Bound] = {
    "boxes": least("lines in the same place", 0.97, 0.90, percent=True),
    "cer": most("characters that differ", 0.02, 0.05, percent=True),
    "scores": most("scores by, mean", 0.03, 0.08),
    "known_cer": most("against the known lines", 0.05, 0.15, percent=True),  # itself
}
