"""The form of a request, read as it arrives: fields are checked against their limits, unknown ones dropped."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, cast
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ml_target.errors import MalformedRequest, TooLarge, UnusableInput
from ml_target.runtime.protocol import MAX_ENTRIES, entries_too_long
from ml_target.system.growing import GrowingFile

MAX_TEXT = 64 * 1024
"""Bytes of a search query: far more than anybody types, and only its first 64 or 77 tokens count."""

MAX_PARTS = 100
MAX_HEAD = 4 * 1024
"""Bytes of the form's Content-Type, and of one part's headers: parsing 60 KiB blocks the event loop for 0.3 s."""

AT_A_TIME, MOST_AT_A_TIME = 4 * 1024, 32 * 1024
QUICK_S, TURN_S = 0.0002, 0.002
"""Bytes that are parsed at a time, at first and where that is quick; how long is quick; and how long parsing may go on
before others get their turn.

An ordinary megabyte takes half a millisecond; one full of near-boundaries takes 300, so 32 KiB of it ten.
"""

MAX_COPIED = 2 * 2**20
"""Bytes of a picture, above any usual preview, up to which it is in malloc's memory: quick, but copied as it grows."""

MULTIPART, URLENCODED = b"multipart/form-data", b"application/x-www-form-urlencoded"

CHARSETS = {
    **dict.fromkeys(("utf-8", "utf8", "us-ascii", "ascii"), "utf-8"),
    **dict.fromkeys(("iso-8859-1", "latin-1", "latin1"), "iso-8859-1"),
    "windows-1252": "windows-1252",
}
"""Python knows a hundred more; some of them do not decode text, or take minutes to."""


@dataclass(slots=True)
class Form:
    """What Immich's form holds: `entries`, and an `image` or a `text`. None for a field that is not there."""

    entries: str | None = None
    image: BinaryIO | None = None
    text: str | None = None


async def read_form(pieces: AsyncIterator[bytes], content_type: str) -> Form:
    """Reads a form to its end; another content type gives an empty form, and is not read.

    Raises MalformedRequest, TooLarge and UnusableInput as soon as what has arrived shows that it is wrong.
    """
    if len(content_type) > MAX_HEAD:
        raise MalformedRequest(
            f"The Content-Type has more than {MAX_HEAD // 1024} KiB", "Send the form as Immich does."
        )
    kind, options = parse_options_header(content_type)
    if kind not in (MULTIPART, URLENCODED):
        return Form()
    charset = _charset(options, "utf-8")
    if kind == URLENCODED:
        return await _read_urlencoded(pieces, charset)
    boundary = options.get(b"boundary")
    if not boundary:
        raise UnusableInput("The form's Content-Type names no boundary", "Send it as Immich does.")
    return await _MultipartReader(boundary, charset).read(pieces)


# ----------------------------------------------------------------- multipart


class _MultipartReader:
    """Sorts the parts of a multipart form into their fields."""

    def __init__(self, boundary: bytes, charset: str) -> None:
        self._charset = charset
        self._fields: dict[str, _Field] = {}
        self._field: _Field | None = None
        self._head = _Head()
        self._parts = 0
        self._closed = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._head.name(data[start:end]),
                    "on_header_value": lambda data, start, end: self._head.value(data[start:end]),
                    "on_header_end": lambda: self._head.end(),
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._data,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise UnusableInput(f"The form's boundary cannot be used ({error})", "Send it as Immich does.") from error

    async def read(self, pieces: AsyncIterator[bytes]) -> Form:
        try:
            size = AT_A_TIME
            async for piece in pieces:
                start, turn = 0, time.perf_counter()
                while start < len(piece):
                    if (begun := time.perf_counter()) - turn > TURN_S:
                        await asyncio.sleep(0)
                        turn = begun = time.perf_counter()
                    self._parse(piece[start : start + size])
                    start += size
                    quick = time.perf_counter() - begun < QUICK_S
                    size = min(2 * size, MOST_AT_A_TIME) if quick else AT_A_TIME
            if not self._closed:
                raise UnusableInput("The form ends before its closing boundary", "Send the whole of it.")
            return _form(self._fields)
        finally:
            # Parser and reader refer to each other: a picture would stay in memory until the garbage collector runs.
            self._parser.callbacks = {}
            self._fields, self._field = {}, None

    def _parse(self, piece: bytes) -> None:
        if self._closed:
            return  # what follows the closing boundary is ignored
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise UnusableInput(
                f"The form is not valid multipart/form-data ({error})", "Send it as Immich does."
            ) from error

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise MalformedRequest(f"The form has more than {MAX_PARTS} fields", "Send entries, and image or text.")
        self._head = _Head()
        self._field = None

    def _headers_finished(self) -> None:
        _, options = _options(self._head.get(b"content-disposition"))
        if b"name" not in options:
            raise UnusableInput("A part of the form has no name in its Content-Disposition", "Send it as Immich does.")
        name = options[b"name"].decode("utf-8", "replace")
        if name not in FIELDS:
            return
        if name in self._fields:
            raise MalformedRequest(f"The form has more than one field '{name}'", "Send one.")
        _, content = _options(self._head.get(b"content-type"))
        self._field = _Field(name, b"filename" in options, _charset(content, self._charset))
        self._fields[name] = self._field

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._field is not None:
            self._field.add(memoryview(data)[start:end])

    def _end(self) -> None:
        self._closed = True


_options = lru_cache(maxsize=16)(parse_options_header)
"""The parts of every request have the same few headers."""


class _Head:
    """The headers of one part."""

    def __init__(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._name = b""
        self._value = b""
        self._size = 0

    def name(self, data: bytes) -> None:
        self._count(data)
        self._name += data

    def value(self, data: bytes) -> None:
        self._count(data)
        self._value += data

    def end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def get(self, name: bytes) -> bytes:
        return self._headers.get(name, b"")

    def _count(self, data: bytes) -> None:
        self._size += len(data) + 1
        if self._size > MAX_HEAD:
            raise MalformedRequest(f"A part of the form has more than {MAX_HEAD // 1024} KiB of headers.")


# -------------------------------------------------------------------- fields


def _text_too_long() -> TooLarge:
    return TooLarge(f"text has more than {MAX_TEXT // 1024} KiB", "Send a search query; only its beginning counts.")


FIELDS = ("entries", "image", "text")
"""The fields that are kept."""

LIMITS: dict[str, tuple[int, Callable[[], Exception]]] = {
    "entries": (MAX_ENTRIES, entries_too_long),
    "text": (MAX_TEXT, _text_too_long),
}
"""The most bytes that a field may have, and the error for more. A picture may be as long as the body."""


class _Field:
    """One field, as far as it has arrived."""

    def __init__(self, name: str, is_file: bool, charset: str) -> None:
        self.name = name
        self.is_file = is_file
        self.content: io.BytesIO | GrowingFile = io.BytesIO()
        self._charset = charset

    def add(self, data: memoryview | bytes) -> None:
        if self.name == "image" and not self.is_file and len(data):
            raise MalformedRequest("image is a text field", "Send it as a file part with a filename.")
        if self.name in LIMITS:
            limit, refusal = LIMITS[self.name]
            if self.content.tell() + len(data) > limit:
                raise refusal()
        elif isinstance(self.content, io.BytesIO) and self.content.tell() + len(data) > MAX_COPIED:
            self.content = GrowingFile(self.content.getvalue())
        self.content.write(data)

    def text(self) -> str:
        """Raises MalformedRequest for bytes that are not text."""
        try:
            return bytes(self.content.getbuffer()).decode(self._charset)
        except UnicodeDecodeError as error:
            raise MalformedRequest(f"{self.name} is not {self._charset.upper()} text", "Send it as UTF-8.") from error


def _form(fields: dict[str, _Field]) -> Form:
    form = Form()
    if "entries" in fields:
        form.entries = fields["entries"].text()
    if "text" in fields:
        form.text = fields["text"].text()
    if "image" in fields and fields["image"].is_file:
        form.image = cast(BinaryIO, fields["image"].content)
        form.image.seek(0)
    return form


def _charset(options: dict[bytes, bytes], default: str) -> str:
    """The codec of a content type's options. Raises MalformedRequest for one that is not supported."""
    if b"charset" not in options:
        return default
    name = options[b"charset"].decode("latin-1").strip().lower()
    if name not in CHARSETS:
        raise MalformedRequest(f"The charset {name[:40]!a} is not supported", "Send UTF-8.")
    return CHARSETS[name]


# ---------------------------------------------------------------- urlencoded


async def _read_urlencoded(pieces: AsyncIterator[bytes], charset: str) -> Form:
    most = 3 * (MAX_ENTRIES + MAX_TEXT)  # percent-encoding may write each byte as three
    body = bytearray()
    async for piece in pieces:
        body += piece
        if len(body) > most:
            raise TooLarge(f"The form has more than {most // 1024} KiB", "Send pictures as multipart/form-data.")
    try:
        found = parse_qsl(body.decode("ascii"), keep_blank_values=True, encoding="latin-1", max_num_fields=MAX_PARTS)
    except ValueError as error:
        raise UnusableInput(f"The form is not urlencoded ({error})", "Send it as Immich does.") from error
    fields: dict[str, _Field] = {}
    for name, value in found:
        if name not in FIELDS:
            continue
        if name in fields:
            raise MalformedRequest(f"The form has more than one field '{name}'", "Send one.")
        fields[name] = _Field(name, False, charset)
        fields[name].add(value.encode("latin-1"))
    return _form(fields)
