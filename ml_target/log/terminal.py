"""The terminal may be older than the words that go there: a latin-1 one, or none with a language at all."""

import io
import json
import re
import sys


def replace_unprintable() -> None:
    """From here on a letter that stdout or stderr cannot print comes out as `?`, instead of ending the program.

    To be called first by every command. It also takes names of files whose bytes are no letters at all.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # in a test, or with the stream closed, it is something else
            stream.reconfigure(errors="replace")


def printable_json(text: str) -> str:
    """JSON for stdout: as a `?` would be another value, letters that cannot be printed are escaped."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        # What is not ASCII stands inside of strings only.
        return re.sub(r"[^\x00-\x7f]+", lambda letters: json.dumps(letters.group())[1:-1], text)
    return text
