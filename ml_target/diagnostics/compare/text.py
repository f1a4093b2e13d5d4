"""Text in photos: are the same lines found, and read alike? Texts are texts: there is no space that could differ."""

from collections.abc import Sequence

from ml_target.diagnostics.checks.measures import error_rate, match
from ml_target.diagnostics.compare.answers import SeenLine
from ml_target.diagnostics.compare.comparison import Comparison, Likeness, share

TASK = "text"
SAME_LINE = 0.5
"""Least overlap (IoU) of the upright rectangles around one line."""

ENOUGH = 20
"""Lines of one worker, for a verdict; of both, where they are not far apart."""

SAME_FOUND, SAME_LETTERS = 0.97, 0.01
ALIKE_FOUND, ALIKE_LETTERS = 0.85, 0.1


def compare(ours: Sequence[Sequence[SeenLine]], theirs: Sequence[Sequence[SeenLine]]) -> Comparison:
    """`ours`, `theirs`: the lines of the same photos."""
    counts = [sum(map(len, side)) for side in (ours, theirs)]
    told = f"{len(ours)} photos, {counts[0]} lines by us, {counts[1]} by them"
    read: list[tuple[str, str]] = []
    for mine, others in zip(ours, theirs, strict=True):
        pairs = match([line.box for line in mine], [line.box for line in others], SAME_LINE)
        read += [(mine[i].text, others[j].text) for i, j, _ in pairs]
    found = [len(read) / count if count else 1.0 for count in reversed(counts)]
    letters = error_rate(read)
    measures = (
        share("found", "their lines that we find", found[0]),
        share("theirs", "our lines that they find", found[1]),
        share("letters_differ", "letters that differ in lines found by both", letters),
    )
    return Comparison(TASK, told, measures, *_likeness(counts, min(found), letters))


def _likeness(lines: Sequence[int], found: float, letters: float) -> tuple[Likeness, str, str]:
    if max(lines) < ENOUGH or (min(lines) < ENOUGH and found > ALIKE_FOUND):
        return Likeness.OPEN, f"a verdict needs at least {ENOUGH} lines", "Name photos with text in them."
    if found >= SAME_FOUND and letters <= SAME_LETTERS:
        return Likeness.SAME, "the same lines, the same letters", "Change at will: nothing has to run again."
    if found >= ALIKE_FOUND and letters <= ALIKE_LETTERS:
        why = "most lines are found by both, and most letters are the same"
        return Likeness.ALIKE, why, "Old and new texts can be searched side by side; nothing has to run again."
    again = "Administration > Jobs > Text Recognition (OCR) > All, if the new worker reads better than the old one."
    return Likeness.OTHER, "other lines are found, or they are read otherwise", again
