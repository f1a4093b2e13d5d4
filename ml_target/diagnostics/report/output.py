"""Where the report goes: standard output, the file that was named, or a file where one can be written."""

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from ml_target.remedies import CONTAINER, in_image

STDOUT = "-"


def tell(words: str) -> None:
    """A line of progress on standard error."""
    with suppress(OSError, ValueError):  # nothing reads it any more
        print(f"report: {words}", file=sys.stderr, flush=True)


def write(text: str, output: str | None, name: str) -> int:
    """Returns the exit code. `output`: the value of --output; `name`: the file's name if there is none."""
    if output == STDOUT or (output is None and not sys.stdout.isatty()):
        return _print(text)
    if output is not None:
        try:
            Path(output).write_text(text, encoding="utf-8")
        except OSError as error:
            print(f"error: {output} cannot be written ({error.strerror}); --output - prints it.", file=sys.stderr)
            return 1
        _written(Path(output))
        return 0
    if any(_keep(text, Path(folder) / name) for folder in (".", tempfile.gettempdir())):
        return 0
    tell("no folder can be written, so here it is")
    return _print(text)


def _keep(text: str, file: Path) -> bool:
    """Writes a new file; False, with a message, if that fails."""
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        tell(f"{file.absolute()} cannot be written ({error.strerror})")
        return False
    _written(file)
    return True


def _written(file: Path) -> None:
    tell(f"written to {file}; look through it, then attach it or paste it into the issue")
    if in_image():
        tell(f"it lies in the container. On the host: docker cp {CONTAINER}:{file.absolute()} .")


def _print(text: str) -> int:
    try:
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
        sys.stdout.buffer.flush()
    except OSError as error:
        tell(f"it could not be printed ({error.strerror})")
        return 1
    return 0
