"""HEF files of every container version, made up byte by byte."""

import hashlib
import struct
import zlib

import xxhash

from ml_target.hef import header as hef

WEIGHTS = bytes(range(256)) * 5
EXTRA = b"additional"


def message(architecture: int = 1, compiler: bytes = b"3.33.0") -> bytes:
    header = b"\x08" + bytes([architecture]) + b"\x10\x93\xd4\xaf\xbb\xdd\x32\x1a" + bytes([len(compiler)]) + compiler
    return b"\x0a" + bytes([len(header)]) + header + b"\x12\x03abc"


def container(version: int, proto: bytes | None = None) -> bytes:
    """A whole HEF of the given container version."""
    proto = message() if proto is None else proto
    prefix = struct.pack(">III", hef.MAGIC, version, len(proto))
    body = proto + WEIGHTS
    if version == 0:
        return prefix + struct.pack(">I", 0) + hashlib.md5(proto).digest() + proto
    if version == 1:
        return prefix + struct.pack(">IQI", zlib.crc32(body), len(WEIGHTS), 0) + body
    if version == 2:
        return prefix + struct.pack(">QQQQ", xxhash.xxh3_64_intdigest(body), len(WEIGHTS), 0, 0) + body
    body += EXTRA
    padding = 16
    fields = (xxhash.xxh3_64_intdigest(body), len(WEIGHTS), padding, len(EXTRA), 0, 0)
    return prefix + struct.pack(">QQIQQQ", *fields) + body
