"""Output for terminals that cannot print every letter, such as latin-1 ones or those without a locale."""

import io
import json
import re
import sys


def replace_unprintable() -> None:
    """From here on a letter that stdout or stderr cannot print comes out as `?`, instead of ending the program.

    Every command calls it first. It also covers file names whose bytes are not valid text.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # in a test, or with the stream closed, it is something else
            stream.reconfigure(errors="replace")


def printable_json(text: str) -> str:
    """JSON for stdout: letters that cannot be printed are escaped, because a `?` would change the value."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        # Anything beyond ASCII is inside strings.
        return re.sub(r"[^\x00-\x7f]+", lambda letters: json.dumps(letters.group())[1:-1], text)
    return text
