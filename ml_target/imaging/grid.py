"""How few overlapping frames of one size cover a picture, and how large it may be then."""

from typing import NamedTuple

Size = tuple[int, int]
"""Height and width."""


class Grid(NamedTuple):
    """`rows` x `columns` frames cover the picture at `scale` (1: the size asked for)."""

    scale: float
    rows: int
    columns: int


def fewest(size: Size, frame: Size, overlap: int, most: int, enough: float = 1.0) -> Grid:
    """The smallest grid that covers `size` at a scale of `enough`; where `most` frames do not, the largest scale."""
    best = Grid(0.0, 1, 1)
    for count in range(1, most + 1):
        shapes = [(rows, count // rows) for rows in range(1, count + 1) if count % rows == 0]
        grids = [Grid(_scale(size, frame, overlap, shape), *shape) for shape in shapes]
        best = max(best, *grids, key=lambda grid: grid.scale)
        if best.scale >= enough:
            break
    return best


def covered(frame: Size, overlap: int, grid: Grid) -> Size:
    """Height and width that the grid's frames cover."""
    return _reach(frame[0], overlap, grid.rows), _reach(frame[1], overlap, grid.columns)


def starts(size: Size, frame: Size, grid: Grid) -> tuple[tuple[int, int], ...]:
    """Top and left of each frame in a picture of `size`, row by row, spread evenly: neighbours share all there is."""
    return tuple(
        (top, left)
        for top in _spread(size[0], frame[0], grid.rows)
        for left in _spread(size[1], frame[1], grid.columns)
    )


def _scale(size: Size, frame: Size, overlap: int, shape: tuple[int, int]) -> float:
    return min(1.0, *(_reach(f, overlap, n) / s for s, f, n in zip(size, frame, shape, strict=True)))


def _reach(side: int, overlap: int, count: int) -> int:
    return side + (count - 1) * (side - overlap)


def _spread(length: int, side: int, count: int) -> list[int]:
    return [round(i * max(0, length - side) / max(1, count - 1)) for i in range(count)]
