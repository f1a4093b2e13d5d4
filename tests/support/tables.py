"""Tables of what the tests measured, shown at the end of the session."""

from dataclasses import dataclass, field


@dataclass
class Table:
    """Rows under a head. `turned`: rows are shown as columns; `numbers`: all but the first cells align right."""

    title: str
    head: tuple[str, ...]
    turned: bool = False
    numbers: bool = False
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The table as text, columns aligned; empty when nothing was recorded."""
        if not self.rows:
            return []
        cells = [self.head, *self.rows]
        if self.turned:
            cells = list(zip(*cells, strict=True))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return ["  ".join(self._aligned(row, widths)).rstrip() for row in cells]

    def _aligned(self, row: tuple[str, ...], widths: list[int]) -> list[str]:
        first, *others = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        if self.numbers:
            others = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return [first, *others]
