"""Walks protobuf messages without their schema: enough to read headers and to see that a file is intact."""

from collections.abc import Iterator


def walk(message: bytes | memoryview) -> Iterator[tuple[int, int | bytes | memoryview]]:
    """The fields of a protobuf message in order: number, and an integer or the bytes, as a view of a view.

    Raises ValueError where the bytes are not such a message.
    """
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        match key & 7:
            case 0:
                value, at = varint(message, at)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = varint(message, at)
            case 5:
                size = 4
            case kind:
                raise ValueError(f"wire type {kind}")
        if at + size > len(message):
            raise ValueError("a field reaches beyond the message")
        yield key >> 3, message[at : at + size]
        at += size


def varint(message: bytes | memoryview, at: int) -> tuple[int, int]:
    """The variable-length integer at `at`, and where it ends. Raises ValueError."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("an integer does not end")
