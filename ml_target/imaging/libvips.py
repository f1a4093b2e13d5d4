"""libvips: reduces a picture in height, three times as fast as Pillow.

Its package `pyvips-binary` has wheels for every kind of machine; `pyvips`, which usually speaks to it, would have to
be built on each, and takes longer over a call than over many a picture. So this is libvips' own interface in C.
Only pixels in memory come here: none of libvips' readers of files is ever asked.
"""

from typing import Any

import _libvips
import numpy as np

from ml_target.tensors import UInt8

_ffi, _lib = _libvips.ffi, _libvips.lib
_UCHAR = 0  # VIPS_FORMAT_UCHAR


def _words() -> str:
    words: str = _ffi.string(_lib.vips_error_buffer()).decode(errors="replace").strip()
    _lib.vips_error_clear()
    return words


if _lib.vips_init(b"ml_target"):
    raise ImportError(f"libvips does not start: {_words()}")
_lib.vips_concurrency_set(1)  # one thread for a picture: several are prepared at a time
_lib.vips_cache_set_max(0)  # no picture comes twice
_lib.vips_block_untrusted_set(1)
_IMAGE = _lib.g_type_from_name(b"VipsImage")


def reduced(picture: UInt8, factor: float, kernel: str) -> UInt8:
    """The picture, contiguous H x W x 3 uint8, at `round(H / factor)` x W x 3, its middle in the middle.

    `factor`: source pixels a pixel, from 1; no more than 2000 of them may make one (MAX_POINT in its presample.h).
    `kernel`: libvips' name of the filter. It is widened by `factor`, works in 1/64 of a pixel and 1/4096 of a weight,
    and repeats the border beyond it. The memory of the result is libvips' own. Raises MemoryError where there is none
    left, ValueError for a factor or a kernel that it does not take.
    """
    height, width, bands = picture.shape
    source = _ffi.from_buffer(picture)
    image = _lib.vips_image_new_from_memory(source, picture.nbytes, width, height, bands, _UCHAR)
    if image == _ffi.NULL:
        raise MemoryError(_words())
    try:
        result = _run(image, f"vshrink={factor!r},kernel={kernel}")
    finally:
        _lib.g_object_unref(image)
    try:
        size = _ffi.new("size_t *")
        pixels = _lib.vips_image_write_to_memory(_ffi.cast("VipsImage *", result), size)
    finally:
        _lib.g_object_unref(result)
    if pixels == _ffi.NULL:
        raise MemoryError(_words())
    owned = _ffi.buffer(_ffi.gc(pixels, _lib.g_free), size[0])
    return np.frombuffer(owned, np.uint8).reshape(-1, width, bands)


def _run(image: Any, options: str) -> Any:
    """The output of `reducev`, computed when it is asked for."""
    operation = _lib.vips_operation_new(b"reducev")
    value = _ffi.new("GValue *")
    _lib.g_value_init(value, _IMAGE)
    _lib.g_value_set_object(value, image)
    _lib.g_object_set_property(_ffi.cast("GObject *", operation), b"in", value)
    _lib.g_value_unset(value)
    if _lib.vips_object_set_from_string(_ffi.cast("VipsObject *", operation), options.encode()):
        _lib.g_object_unref(operation)
        raise ValueError(_words())
    built = _lib.vips_cache_operation_build(operation)
    _lib.g_object_unref(operation)
    if built == _ffi.NULL:
        raise ValueError(_words())
    _lib.g_value_init(value, _IMAGE)
    _lib.g_object_get_property(_ffi.cast("GObject *", built), b"out", value)
    result = _lib.g_value_get_object(value)
    _lib.g_object_ref(result)
    _lib.g_value_unset(value)
    _lib.vips_object_unref_outputs(_ffi.cast("VipsObject *", built))
    _lib.g_object_unref(built)
    return result
