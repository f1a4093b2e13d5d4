"""Draws docs/architecture.svg: the rooms of ml_target, floor by floor, as pyproject.toml orders them.

Floors come from the contract of import-linter, sentences from the rooms' docstrings, counts from the files.
`--check` draws nothing: it fails if rooms or floors of the drawing differ from the tree. Counts may lag behind.
"""

import argparse
import ast
import re
import textwrap
from html import escape
from pathlib import Path

from importlinter import api

PROJECT = Path(__file__).resolve().parent.parent
DRAWING = PROJECT / "docs" / "architecture.svg"
PACKAGE = PROJECT / "ml_target"

Floors = list[list[str]]

WIDTH, LEFT, GAP, LINE, NARROW = 960, 60, 10, 17, 200
RULE = "ml_target: a room may import from the floors below it, never from those above or beside it"
FILLS = ("#e8eefc", "#e6f4ea", "#fdf1dc", "#f3e8f7", "#dcebf5")


def floors() -> Floors:
    """The rooms of each floor, from the top down. Raises SystemExit if they differ from the tree."""
    contracts = api.read_configuration(str(PROJECT / "pyproject.toml"))["contracts_options"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    found = [[room.strip() for room in re.split("[|:]", layer)] for layer in layers]
    missing = {room for floor in found for room in floor if not files_of(room)}
    if missing:
        raise SystemExit(f"pyproject.toml has floors for rooms that are not there: {', '.join(sorted(missing))}")
    return found


def files_of(room: str) -> list[Path]:
    """Its modules; a room may be one file."""
    return sorted((PACKAGE / room).rglob("*.py")) or list(PACKAGE.glob(f"{room}.py"))


def inner_rooms(room: str) -> list[str]:
    return sorted(file.parent.name for file in (PACKAGE / room).glob("*/__init__.py"))


def sentence_of(room: str) -> str:
    """The first sentence of its docstring."""
    folder = PACKAGE / room
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    words = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return words.partition("\n")[0].replace("`", "")


def counts_of(room: str) -> str:
    files = files_of(room)
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
    return f"{f'{len(files)} modules, ' if len(files) > 1 else ''}{lines:,} lines"


def words_in(room: str, width: float) -> list[str]:
    """The text below its name, in lines that fit; a narrow box has only the name."""
    if width < NARROW:
        return []
    words = textwrap.wrap(sentence_of(room), int(width / 6.8))
    inner = inner_rooms(room)
    return [*words, *([f"In it: {', '.join(inner)}."] if inner else [])]


def draw(of: Floors) -> str:
    """The picture, as SVG."""
    shapes: list[str] = []
    top = 50
    for number, floor in enumerate(of):
        width = (WIDTH - LEFT - GAP * len(floor)) / len(floor)
        texts = [words_in(room, width) for room in floor]
        height = LINE * (max(map(len, texts)) + 1) + 12
        shapes.append(f'  <g data-floor="{number}" fill="{FILLS[number % len(FILLS)]}">')
        for place, (room, lines) in enumerate(zip(floor, texts, strict=True)):
            shapes += box(room, lines, LEFT + place * (width + GAP), top, width, height)
        shapes.append("  </g>")
        top += height + GAP
    head = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 10}" font-family="sans-serif" font-size="12">
  <title>The rooms of ml_target, floor by floor</title>
  <rect width="{WIDTH}" height="{top + 10}" rx="8" fill="#fff"/>
  <text x="{LEFT}" y="30" font-size="14">{RULE}</text>
  <path d="M30 50V{top - GAP}m-6-10 6 10 6-10" fill="none" stroke="#555" stroke-width="1.5"/>
  <text transform="translate(20 {top / 2:.0f}) rotate(-90)" text-anchor="middle">imports</text>
"""
    return head + "\n".join(shapes) + "\n</svg>\n"


def box(room: str, lines: list[str], left: float, top: int, width: float, height: int) -> list[str]:
    x, y = left + 8, top + LINE + 3
    rows = [
        f'      <text x="{x:.0f}" y="{y + LINE * row}">{escape(line)}</text>' for row, line in enumerate(lines, start=1)
    ]
    return [
        f'    <g data-room="{room}">',
        f'      <rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{height}" rx="5" stroke="#333"/>',
        '      <g fill="#000">',
        f'      <text x="{x:.0f}" y="{y}" font-size="14" font-weight="bold">{room}</text>',
        *(
            [f'      <text x="{left + width - 8:.0f}" y="{y}" text-anchor="end">{counts_of(room)}</text>']
            if lines
            else []
        ),
        *rows,
        "      </g>",
        "    </g>",
    ]


def floors_in(drawing: str) -> Floors:
    """The rooms of each floor in the picture."""
    return [re.findall(r'data-room="(\w+)"', part) for part in drawing.split("data-floor=")[1:]]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/draw_architecture.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare the drawing's rooms and floors with the tree")
    if not parser.parse_args().check:
        DRAWING.write_text(draw(floors()), encoding="utf-8")
    elif floors_in(DRAWING.read_text(encoding="utf-8")) != floors():
        raise SystemExit(
            "docs/architecture.svg shows other rooms than the tree. Run: .venv/bin/python scripts/draw_architecture.py"
        )


if __name__ == "__main__":
    main()
