"""libvips: reduces a picture in height, several times as fast as Pillow.

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


class Reduction:
    """Rows of a picture, contiguous H x N uint8, as `round(H / factor)` rows, their middle in the middle.

    `rows` is read at each call of `part`, so it may be filled again between two: to set a reduction up takes as long as
    to reduce a tenth of a megabyte. `factor`: source rows a row, from 1; no more than 2000 of them may make one
    (MAX_POINT in its presample.h). `kernel`: libvips' name of the filter. It is widened by `factor`, works in 1/64 of a
    row and 1/4096 of a weight, and repeats the border beyond it. Raises MemoryError where there is no memory left,
    ValueError for a factor or a kernel that libvips does not take.
    """

    def __init__(self, rows: UInt8, factor: float, kernel: str) -> None:
        height, self._width = rows.shape
        self._rows = _ffi.from_buffer(rows)
        image = _lib.vips_image_new_from_memory(self._rows, rows.nbytes, self._width, height, 1, _UCHAR)
        if image == _ffi.NULL:
            raise MemoryError(_words())
        try:
            result = _run(image, f"vshrink={factor!r},kernel={kernel}")
        finally:
            _lib.g_object_unref(image)
        self._result = _ffi.gc(_ffi.cast("VipsImage *", result), _lib.g_object_unref)

    def part(self, kept: slice) -> UInt8:
        """The rows `kept` of the result, in memory of libvips' own. This thread computes them, without the GIL.

        Raises MemoryError.
        """
        # `vips_image_write_to_memory` would have a thread of libvips do it, and wait for that. A region knows no pixels
        # of the one before.
        region = _lib.vips_region_new(self._result)
        if region == _ffi.NULL:
            raise MemoryError(_words())
        size = _ffi.new("size_t *")
        try:
            values = _lib.vips_region_fetch(region, 0, kept.start, self._width, kept.stop - kept.start, size)
        finally:
            _lib.g_object_unref(region)
        if values == _ffi.NULL:
            raise MemoryError(_words())
        owned = _ffi.buffer(_ffi.gc(values, _lib.g_free), size[0])
        return np.frombuffer(owned, np.uint8).reshape(-1, self._width)


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
