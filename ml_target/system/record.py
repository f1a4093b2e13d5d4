"""A small JSON file that this program keeps, and that is never seen half written."""

import json
import os
import threading
from contextlib import suppress
from pathlib import Path


def write_json(path: Path, content: object) -> None:
    """Puts `content` in the file's place in one step. Raises OSError, and leaves the old file then.

    Whoever reads it finds the old content or the new, whole, even if this process is killed or the power fails, and
    while others write it too: of several writers the last one's is there.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())  # a power cut must not leave an empty file under the right name
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
