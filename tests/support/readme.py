"""The README's text, and the commands of a page."""

import re

from ml_target.config import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def blocks_of(text: str) -> list[tuple[str, str]]:
    """The blocks of commands of a page, in their order: how far they are moved in, and their lines."""
    return re.findall(r"^( *)```bash\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)


def lines_of(text: str) -> list[str]:
    """Every command in the blocks of a page, in their order."""
    return [line.partition("  #")[0].strip() for _, block in blocks_of(text) for line in block.splitlines()]
