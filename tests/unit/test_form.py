"""The form as it arrives: limits on the way, nothing kept that nobody asks for, bytes that are no text."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from ml_target.api.form import MAX_COPIED, MAX_HEAD, MAX_PARTS, MAX_TEXT, Form, read_form
from ml_target.errors import MalformedRequest, TooLarge, UnusableInput, WorkerError
from ml_target.runtime.protocol import MAX_ENTRIES
from ml_target.system.growing import GrowingFile

KIND = "multipart/form-data; boundary=b"
URLENCODED = "application/x-www-form-urlencoded"


class Pieces:
    """A body in pieces; `taken` tells how many bytes of it were read."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self.taken = 0

    async def read(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            self.taken += len(piece)
            yield piece


def part(head: str, content: bytes) -> bytes:
    return f"--b\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"


def form(body: bytes, kind: str = KIND, size: int = 65536) -> Form:
    pieces = Pieces([body[at : at + size] for at in range(0, len(body), size)])
    return asyncio.run(read_form(pieces.read(), kind))


def refusal(body: bytes, kind: str = KIND) -> WorkerError:
    with pytest.raises(WorkerError) as error:
        form(body, kind)
    assert " at 0x" not in str(error.value)
    return error.value


ENTRIES = part('name="entries"', b"{}")
IMAGE = part('name="image"; filename="blob"\r\nContent-Type: application/octet-stream', b"\r\n--\r\n--b-\xff" * 50)
TEXT = part('name="text"', "wörld".encode())
END = b"--b--\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 65536])
def test_a_form_in_pieces_of_any_size(size: int) -> None:
    found = form(ENTRIES + IMAGE + TEXT + part('name="surprise"', bytes(3000)) + END, size=size)
    assert (found.entries, found.text) == ("{}", "wörld")
    assert found.image is not None
    assert found.image.read() == b"\r\n--\r\n--b-\xff" * 50


def test_a_large_picture_is_taken_to_memory_of_its_own() -> None:
    content = random.Random(1).randbytes(MAX_COPIED + 70_000)
    found = form(ENTRIES + part('name="image"; filename="i"', content) + END)
    assert isinstance(found.image, GrowingFile)
    assert found.image.read() == content


def test_a_field_may_be_sent_as_a_file() -> None:
    found = form(part('name="entries"; filename="e"', b"{}") + part('name="text"; filename="t"', b"cat") + END)
    assert (found.entries, found.text, found.image) == ("{}", "cat", None)


@pytest.mark.parametrize("filename", ["", '; filename="t"'])
@pytest.mark.parametrize(
    ("name", "limit", "kind"), [("text", MAX_TEXT, TooLarge), ("entries", MAX_ENTRIES, MalformedRequest)]
)
def test_fields_have_a_limit_on_the_way(name: str, limit: int, kind: type[WorkerError], filename: str) -> None:
    head = f'name="{name}"{filename}'
    form(part(head, b"x" * limit) + END)
    pieces = Pieces([part(head, b""), *[b"\xff" * 65536] * 300])
    pieces._pieces[0] = part(head, b"x")[:-3]
    with pytest.raises(kind, match="more than"):
        asyncio.run(read_form(pieces.read(), KIND))
    assert pieces.taken < limit + 3 * 65536, "the rest was never read"


def test_what_nobody_asks_for_is_not_kept() -> None:
    body = part('name="other"; filename="o"', bytes(1_000_000)) + ENTRIES + END
    assert form(body) == Form(entries="{}")


def test_too_many_parts_and_endless_heads_are_refused() -> None:
    form(part('name="x"', b"") * MAX_PARTS + END)
    assert "fields" in str(refusal(part('name="x"', b"") * (MAX_PARTS + 1)))
    assert isinstance(refusal(b"--b\r\n" + b"X-Y: z\r\n" * MAX_HEAD), (MalformedRequest, UnusableInput))
    assert isinstance(refusal(b"--b\r\nX: " + b"z" * 2 * MAX_HEAD), (MalformedRequest, UnusableInput))
    assert isinstance(refusal(b"--b\r\n" + b"X" * 2 * MAX_HEAD), (MalformedRequest, UnusableInput))


@pytest.mark.parametrize("options", ['; x="' + ";" * 60_000, "; a=b" * 12_000])
def test_an_endless_content_type_is_not_taken_apart(options: str) -> None:
    """Taking it apart holds the event loop, the longer by the square of its length."""
    assert "Content-Type has more than" in str(refusal(ENTRIES + END, KIND + options))
    form(part('name="image"; filename="' + "ä" * 255 + '"', b"x") + END)  # the longest name of a file


def test_what_follows_the_closing_boundary_means_nothing() -> None:
    assert form(ENTRIES + END + part('name="entries"', b"[]") * 3).entries == "{}"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (ENTRIES + IMAGE, "before its closing boundary"),
        (b"", "before its closing boundary"),
        (b"hello", "multipart"),
        (b"--c\r\n\r\n--c--", "multipart"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END, "no name"),
        (b"--b\r\nno header\r\n\r\nx\r\n" + END, "multipart"),
    ],
)
def test_broken_forms(body: bytes, words: str) -> None:
    error = refusal(body)
    assert isinstance(error, UnusableInput)
    assert words in str(error)


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=", KIND + "x" * 300])
def test_boundaries_that_are_none(kind: str) -> None:
    assert isinstance(refusal(ENTRIES + END, kind), UnusableInput)


def test_no_form_is_an_empty_one() -> None:
    assert form(b"{}", "application/json") == form(b"", "") == Form()


@pytest.mark.parametrize("charset", ["punycode", "undefined", "idna", "zlib", "unicode_escape", "utf-7", "nothing", ""])
@pytest.mark.parametrize("kind", [KIND, URLENCODED])
def test_charsets_that_are_not_read(charset: str, kind: str) -> None:
    error = refusal(ENTRIES + END, f"{kind}; charset={charset}")
    assert isinstance(error, MalformedRequest)
    assert "Send UTF-8" in str(error)


def test_charsets_that_are_read() -> None:
    latin = part('name="text"', "é".encode("latin-1"))
    assert form(latin + END, KIND + "; charset=ISO-8859-1").text == "é"
    own = part('name="text"\r\nContent-Type: text/plain; charset=windows-1252', b"\x80")
    assert form(own + END).text == "€"
    assert isinstance(refusal(latin + END), MalformedRequest)
    assert isinstance(
        refusal(part('name="text"\r\nContent-Type: text/plain; charset=undefined', b"x")), MalformedRequest
    )


def test_urlencoded_forms() -> None:
    found = form(b"entries=%7B%7D&text=w%C3%B6rld+cat&other=1&other=2", URLENCODED, size=3)
    assert found == Form(entries="{}", text="wörld cat")
    assert isinstance(refusal(b"text=a&text=b", URLENCODED), MalformedRequest)
    assert isinstance(refusal(b"image=x", URLENCODED), MalformedRequest)
    assert isinstance(refusal(b"a=b&" * 1000, URLENCODED), UnusableInput)
    assert isinstance(refusal(b"text=\xff", URLENCODED), UnusableInput)
    assert isinstance(refusal(b"text=%ff", URLENCODED), MalformedRequest)
    assert isinstance(refusal(b"text=" + b"x" * (MAX_TEXT + 1), URLENCODED), TooLarge)
    assert isinstance(refusal(b"x" * 10**6, URLENCODED), TooLarge)


def test_noise_is_refused_in_words() -> None:
    """Bytes at random, and good forms with bytes changed: an answer, or one of our own refusals."""
    choose = random.Random(3)
    good = ENTRIES + IMAGE + TEXT + END
    said: list[str] = []
    for number in range(150):
        body = bytearray(good if number % 4 else choose.randbytes(200))
        for _ in range(choose.randint(1, 8)):
            body[choose.randrange(len(body))] = choose.choice(b'\r\n-b:;="\0\xff')
        try:
            form(bytes(body), size=choose.choice((1, 5, 1000)))
        except WorkerError as error:
            said.append(str(error))
    assert len(said) > 75
    assert not [words for words in said if " at 0x" in words]
