"""What the probe found out about each text tower, by the SHA-256 of its file, so that it runs only once."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

from ml_target.system.record import write_json
from ml_target.tasks.clip.text_head import TextLayout

log = logging.getLogger(__name__)

NAME = "text_layouts.json"


class LayoutCache:
    """A small JSON file in the models folder. What cannot be read or written is found out again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def get(self, sha256: str) -> TextLayout | None:
        """What was found out about the file with this hash, if anything."""
        entry = self._read().get(sha256)
        if not isinstance(entry, dict):
            return None
        add, norm = entry.get("add_positions"), entry.get("apply_norm")
        if not isinstance(add, bool) or not (norm is None or isinstance(norm, bool)):
            return None
        return TextLayout(add, norm)

    def keep(self, sha256: str, layout: TextLayout) -> None:
        """Writes the layout to the file, atomically."""
        try:
            write_json(self._path, {**self._read(), sha256: asdict(layout)})
        except OSError as error:
            # An image with its models baked in cannot be written to: nothing is wrong.
            log.info("%s cannot be kept (%s); the probe runs at every start", self._path, error)

    def _read(self) -> dict[str, object]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
