"""Smart search: do old vectors and new ones mix?

What decides is the index after a change: their vectors of the old photos, asked with our vectors of queries and of new
photos. How alike the vectors themselves are decides only about duplicates, which Immich compares at a distance of 0.01.
"""

from collections.abc import Sequence

import numpy as np

from ml_target.diagnostics.compare.comparison import Comparison, Likeness, Measure, count, number, share
from ml_target.diagnostics.compare.measures import NEAREST, Spread, near_pairs, same_ranking, spread
from ml_target.tensors import Float32

TASK = "search"
DUPLICATE = 0.01
"""Immich's default distance of duplicates (Administration > Machine Learning Settings > Duplicate Detection)."""

ENOUGH = 100
"""Photos for a verdict on ranking: among fewer, ten neighbours are a large part of all."""

SAME_COSINE = 1 - DUPLICATE
"""In the same space 95 % of photos move by less than what makes two photos duplicates."""

SAME_RANKING = 0.9
ALIKE_RANKING = 0.7
"""Shares of the nearest ten. Between unrelated spaces a hundred photos share one in ten by chance."""

UNLIKE_COSINE = 0.5
"""Below this mean no ranking needs to be looked at: two editions of one network are far above 0.9."""

ALIKE_ADVICE = "Searches stay as they are. For duplicates, run Smart Search > All and then Duplicate Detection."
AGAIN = "Administration > Jobs > Smart Search > All, after the change: until it has ended searches find nonsense."
QUERIES = (
    "Smart Search > All would change nothing: photos are as they were. Do not change yet. This worker's log says which "
    "text tower it runs; try CLIP_TEXT_ENGINE=cpu, and compare again."
)


def compare(ours: Sequence[Float32], theirs: Sequence[Float32], queries: tuple[Sequence[Float32], ...]) -> Comparison:
    """`ours`, `theirs`: unit vectors of the same photos in the same order, at least one; `queries`: ours and theirs."""
    told = f"{len(ours)} photos, {len(queries[0])} queries"
    widths = [{len(vector) for vector in side} for side in (ours, theirs)]
    if widths[0] != widths[1] or len(widths[0]) != 1:
        why = f"vectors of {_words(widths[0])} and of {_words(widths[1])} numbers cannot share an index"
        return Comparison(TASK, told, (), Likeness.OTHER, why, AGAIN)
    a, b = np.stack(ours), np.stack(theirs)
    asked = tuple(np.stack(side) if len(side) else np.empty((0, a.shape[1]), np.float32) for side in queries)
    moved = spread(a, b)
    neighbours, finds = same_ranking(a, b, b, itself=True), same_ranking(asked[0], asked[1], b, itself=False)
    before, *pairs = _duplicates(a, b)
    measures = [*_cosines("cosine", "one photo's two vectors: cosine", moved)]
    if len(asked[0]):
        measures += _cosines("query_cosine", "one query's two vectors: cosine", spread(*asked))
    measures += [
        share("neighbours_shared", f"nearest {NEAREST} photos of a photo, shared", neighbours),
        share("queries_shared", f"first {NEAREST} photos of a query in the old index, shared", finds),
        share(
            "own_queries_shared", f"first {NEAREST} photos of a query, each worker by itself, shared", _own(asked, a, b)
        ),
        count("pairs", f"pairs of photos within {DUPLICATE:g} (duplicates) by them", before),
        count("pairs_differ", "  judged differently by us", pairs[0]),
        count("pairs_differ_mixed", "  judged differently where one vector is ours and one theirs", pairs[1]),
    ]
    ranks = (neighbours, finds) if len(asked[0]) else None
    return Comparison(TASK, told, tuple(measures), *_likeness(len(ours), moved, ranks, any(pairs)))


def _duplicates(a: Float32, b: Float32) -> tuple[int, int, int]:
    """Pairs of photos that are duplicates by b; those that a judges otherwise; those that one vector of each does."""
    counts = np.zeros(3, np.int64)
    for theirs, ours, one, other in near_pairs(DUPLICATE, (b, b), (a, a), (a, b), (b, a)):
        counts += [each.sum() for each in (theirs, theirs ^ ours, (theirs ^ one) | (theirs ^ other))]
    before, differ, mixed = counts.tolist()
    return before, differ, mixed


def _likeness(
    photos: int, moved: Spread, shared: tuple[float, float] | None, pairs_differ: bool
) -> tuple[Likeness, str, str]:
    """`shared`: of the nearest ten of photos, and of queries."""
    if moved.mean < UNLIKE_COSINE:
        return Likeness.OTHER, f"the mean cosine is below {UNLIKE_COSINE:g}: these are different networks", AGAIN
    if shared is None:
        return Likeness.OPEN, "no query was answered by both", "Let both workers answer queries, and compare again."
    if photos < ENOUGH:
        why = f"a verdict on ranking needs at least {ENOUGH} photos; these tell only cosines"
        return Likeness.OPEN, why, f"Name a folder of at least {ENOUGH} photos, better a thousand."
    same_photos, ranks = moved.low >= SAME_COSINE and shared[0] >= SAME_RANKING, min(shared)
    if same_photos and ranks < ALIKE_RANKING:
        return Likeness.OTHER, "photos have the same vectors, but queries find others: the text towers differ", QUERIES
    if ranks < ALIKE_RANKING:
        return Likeness.OTHER, f"less than {ALIKE_RANKING:.0%} of the nearest ten are shared", AGAIN
    if same_photos and ranks >= SAME_RANKING and not pairs_differ:
        why = f"95 % of photos moved by less than {DUPLICATE:g}, and no pair of duplicates is judged differently"
        return Likeness.SAME, why, "Change at will: nothing has to run again."
    why = (
        f"at least {ALIKE_RANKING:.0%} of the nearest ten are shared, but vectors moved, or duplicates are judged anew"
    )
    return Likeness.ALIKE, why, ALIKE_ADVICE


def _own(asked: tuple[Float32, ...], a: Float32, b: Float32) -> float:
    """The share of the first ten that each worker finds among its own vectors, in common."""
    if not len(asked[0]):
        return 1.0
    most = min(NEAREST, len(a))
    firsts = [
        np.argsort(-(side @ rows.T), axis=1, kind="stable")[:, :most] for side, rows in zip(asked, (a, b), strict=True)
    ]
    return float(np.mean([len({*x} & {*y}) / most for x, y in zip(*map(np.ndarray.tolist, firsts), strict=True)]))


def _cosines(key: str, label: str, of: Spread) -> list[Measure]:
    blank = " " * len(label.partition(":")[0])
    return [
        number(f"{key}_mean", f"{label}, mean", of.mean),
        number(f"{key}_low", f"{blank}  5 % are below", of.low),
        number(f"{key}_least", f"{blank}  least", of.least),
    ]


def _words(widths: set[int]) -> str:
    return " and ".join(map(str, sorted(widths)))
