"""Tells by its first bytes what a file is that should be a HEF, and what to do about it."""

import stat
from pathlib import Path

from ml_target.catalogue.networks import NETWORKS
from ml_target.hef.header import MAGIC
from ml_target.remedies import fetch_again

HEF = MAGIC.to_bytes(4, "big")
LOOKED_AT = 512  # bytes; the magic of a tar archive is at 257
PAGE = ("<!doctype html", "<html", "<?xml")
POINTER = b"version https://git-lfs.github.com/spec/"
KINDS: tuple[tuple[bytes, int, str, str], ...] = (
    (POINTER, 0, "a Git LFS pointer, a few lines that stand for the file", "Bring the file itself: git lfs pull"),
    (b"PK\3\4", 0, "a zip archive", "Unpack it and name the .hef files that were inside"),
    (b"\x1f\x8b", 0, "a compressed file (gzip)", "Unpack it and name the .hef files that were inside"),
    (
        b"ustar",
        257,
        "a tar archive, as a Hailo .har is",
        "If it is a .har, its network is not compiled yet: Hailo's Dataflow Compiler makes a .hef of it",
    ),
    (b"\xff\xd8\xff", 0, "a picture (JPEG)", "Name .hef files"),
    (b"\x89PNG", 0, "a picture (PNG)", "Name .hef files"),
)
"""Magic bytes, their offset, what the file is, remedy."""

OURS = {name for network in NETWORKS for file in network.hef.values() for name in (file.name, *file.aliases)}


def why_no_hef(path: Path) -> str:
    """What the file is instead of a HEF and what to do, in two sentences; "" for a file that begins like a HEF.

    The remedy for a file with the name of one of the worker's own is to fetch it again.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return f"{path} is a folder. Name the files in it: {path / '*.hef'}."
        if not stat.S_ISREG(mode):  # opening a pipe would block
            return f"{path} is no ordinary file. Name .hef files."
        with path.open("rb") as file:
            begin = file.read(LOOKED_AT)
    except FileNotFoundError:
        return f"{path} is not there. Look at the name: ls {path.parent}."
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}. Give this user the right to: chmod a+r {path}."
    if begin.startswith(HEF):
        return ""
    kind, remedy = _kind(begin, path)
    return f"{path} is not a HEF but {kind}. {fetch_again() if path.name in OURS else remedy}."


def _kind(begin: bytes, path: Path) -> tuple[str, str]:
    if not begin:
        return "empty", "The transfer that should have filled it was cut off: download it again from where it came"
    for mark, at, kind, remedy in KINDS:
        if begin[at:].startswith(mark):
            return kind, remedy
    # Field 1 of an ONNX file is the version of its format, field 2 or 7 the producer or the graph.
    if path.suffix == ".onnx" or (begin[0] == 0x08 and begin[2:3] in (b"\x12", b"\x3a")):
        return "an ONNX network", "It runs on the processor as it is; for a card name its .hef file"
    text = begin.decode("utf-8", "ignore").lstrip("\ufeff \t\r\n").lower()
    if text.startswith(PAGE):
        return "a web page", "What was downloaded is a page and not the file: look at the address, it may want a login"
    if _is_text(begin):
        return "a text file", "Name .hef files"
    return "something else: it does not begin with 01 48 45 46", "Name .hef files"


def _is_text(begin: bytes) -> bool:
    """Whether it holds only printable characters and line ends; the last character may be cut."""
    try:
        text = begin.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < LOOKED_AT - 4:
            return False
        text = begin[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter in "\t\r\n" for letter in text)
