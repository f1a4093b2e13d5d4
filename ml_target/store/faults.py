"""What stops one attempt to get a file. The store gathers these into the FetchError that a person reads."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml_target.errors import FetchError


class SourceError(Exception):
    """This source cannot give the file; the text says why. Another one may."""


class CutError(SourceError):
    """The transfer broke off or the server had a passing problem: worth another try."""


class PastEndError(CutError):
    """What was asked for lies beyond the end of the file: what is here is of another edition."""


class NoRangesError(SourceError):
    """The server sends whole files only."""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns what goes wrong on the local disk into FetchError: no other source would fare better."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = f"no space left in {folder}. Free some, or point MODELS_DIR at a folder on a larger disk."
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            reason = (
                f"{folder} cannot be written ({error.strerror}). Give the worker's user write permission "
                "(chown or chmod, or mount it writable), or point MODELS_DIR at a folder that it may write."
            )
        else:
            reason = f"{folder}: {error.strerror or error}. Check the disk, or point MODELS_DIR at another folder."
        raise FetchError(reason) from error
