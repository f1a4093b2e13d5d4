"""The README's text, and the commands of a page."""

import re

from ml_target.config import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def lines_of(text: str) -> list[str]:
    """Every command in the blocks of a page, in their order."""
    blocks = re.findall(r"^( *)```bash\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [line.partition("  #")[0].strip() for _, block in blocks for line in block.splitlines()]
