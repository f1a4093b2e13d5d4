"""Pictures in: every form a file may have, and the files that must be refused."""

import asyncio
import gc
import io
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import hostile_pictures
import numpy as np
import pytest
from PIL import Image

from ml_target.errors import TooLarge, Unavailable, UnusableInput
from ml_target.imaging import raster
from ml_target.imaging.formats import probe
from ml_target.imaging.picture import decode
from ml_target.scheduling.threads import ThreadPool
from ml_target.tensors import UInt8

LIMIT = 10_000_000


def gradient(height: int = 48, width: int = 64) -> UInt8:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.dstack([rows * 5 % 256, columns * 3 % 256, (rows + columns) % 256]).astype(np.uint8)


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


RGB = Image.fromarray(gradient())
FORMS: dict[str, tuple[bytes, Image.Image]] = {
    "jpeg": (encode(RGB, "JPEG"), RGB),
    "progressive": (encode(RGB, "JPEG", progressive=True), RGB),
    "grey jpeg": (encode(RGB.convert("L"), "JPEG"), RGB.convert("L")),
    "cmyk jpeg": (encode(RGB.convert("CMYK"), "JPEG"), RGB.convert("CMYK")),
    "webp": (encode(RGB, "WEBP", lossless=True), RGB),
    "png": (encode(RGB, "PNG"), RGB),
    "alpha": (encode(RGB.convert("RGBA"), "PNG"), RGB),
    "palette": (encode(RGB.quantize(32), "PNG"), RGB.quantize(32)),
    "grey alpha": (encode(RGB.convert("LA"), "PNG"), RGB.convert("L")),
    "one bit": (encode(RGB.convert("1"), "PNG"), RGB.convert("1")),
    "bmp": (encode(RGB, "BMP"), RGB),
    "tiff": (encode(RGB, "TIFF"), RGB),
    "gif": (encode(RGB.quantize(64), "GIF"), RGB.quantize(64)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_what_pillow_gives(form: str) -> None:
    data, source = FORMS[form]
    pixels = decode(data, LIMIT)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    with Image.open(io.BytesIO(data)) as reference:
        np.testing.assert_array_equal(pixels, np.array(reference.convert("RGB")))
    assert np.abs(pixels.astype(int) - np.array(source.convert("RGB"))).mean() < 12, "lossy forms stay close"


def test_palette_with_a_transparency_table_loses_only_its_alpha() -> None:
    image = RGB.quantize(200)
    data = encode(image, "PNG", transparency=bytes(range(200)))
    np.testing.assert_array_equal(decode(data, LIMIT), np.array(image.convert("RGB")))


def test_sixteen_bit_grey_keeps_its_picture() -> None:
    grey = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    pixels = decode(encode(Image.fromarray(grey), "PNG"), LIMIT)
    np.testing.assert_array_equal(pixels, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2))


def test_orientation_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to display
    assert decode(encode(RGB, "JPEG", exif=exif), LIMIT).shape == (48, 64, 3)


def test_colour_profile_is_not_applied() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    np.testing.assert_array_equal(decode(encode(RGB, "PNG", icc_profile=profile), LIMIT), gradient())


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert decode(data, LIMIT)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    assert decode(encode(Image.new("RGB", size), "PNG"), LIMIT).shape == (size[1], size[0], 3)


@pytest.mark.parametrize(
    "data",
    [
        encode(Image.new("RGB", (32, 32)), "ICO"),
        b"",
        b"not a picture",
        b"\xff\xd8\xff",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        bytes(1000),
    ],
    ids=["an icon, decoded by its header", "empty", "text", "three bytes", "PostScript", "zeros"],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(UnusableInput, match="not a picture this worker can read"):
        decode(data, LIMIT)


@pytest.mark.parametrize("form", ["jpeg", "progressive", "webp", "png", "tiff", "bmp"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_cut_pictures_are_refused(form: str, share: float) -> None:
    data = encode(
        Image.fromarray(np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)),
        "JPEG" if form == "progressive" else form.upper(),
    )
    with pytest.raises(UnusableInput, match=r"damaged or cut short|not a picture"):
        decode(data[: int(len(data) * share)], LIMIT)


def test_a_refusal_tells_the_remedy_and_no_addresses() -> None:
    with pytest.raises(UnusableInput, match="Regenerate its preview") as caught:
        decode(encode(RGB, "JPEG")[:-200], LIMIT)
    assert "0x" not in str(caught.value)


def test_the_pixel_limit_holds_before_decoding() -> None:
    data = encode(Image.new("1", (4000, 4000)), "PNG")
    with pytest.raises(TooLarge, match=r"4000 x 4000 pixels, more than 10,000,000.*MAX_PIXELS"):
        probe(data, LIMIT)
    assert probe(data, 16_000_000).pixels == 16_000_000


def test_pixels_of_unknown_range_are_refused() -> None:
    with pytest.raises(UnusableInput, match="32-bit pixels"):
        decode(encode(Image.new("F", (5, 5)), "TIFF"), LIMIT)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """As between two runs of the cyclic collector, which may be minutes apart."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("form", ["jpeg", "webp", "png", "tiff", "gif"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "cut"])
def test_nothing_of_pillow_s_outlives_the_decoding(
    no_collector: None, monkeypatch: pytest.MonkeyPatch, form: str, whole: bool
) -> None:
    data = FORMS[form][0] if whole else FORMS[form][0][:-200]
    opened: list[weakref.ref[Image.Image]] = []
    really_open = Image.open

    def noted(*args: Any, **options: Any) -> Image.Image:
        image = really_open(*args, **options)
        opened.append(weakref.ref(image))
        return image

    monkeypatch.setattr(Image, "open", noted)
    kept: list[Exception] = []
    try:
        decode(data, LIMIT)
    except UnusableInput as error:
        kept.append(error)  # as a future keeps it
    assert bool(kept) is not whole or not opened
    assert [image for image in opened if image() is not None] == []


def test_an_error_that_is_kept_keeps_no_pixels(no_collector: None) -> None:
    data = hostile_pictures.cut_png(1000, 1000)
    kept: list[BaseException] = []

    async def scenario() -> None:
        host = ThreadPool(1)
        try:
            await host.run(decode, data, LIMIT)
        except UnusableInput as error:
            kept.append(error)
        host.close()

    tracemalloc.start()
    try:
        asyncio.run(scenario())
        assert tracemalloc.get_traced_memory()[0] < 10**6, "three million bytes of pixels"
        [error] = kept
        watched = weakref.ref(error)
        kept.clear()
        del error
        assert watched() is None, "the error is in no circle, which only the collector would find"
    finally:
        tracemalloc.stop()


def test_memory_that_cannot_be_had_is_not_the_pictures_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise MemoryError

    for name in ("PIL.ImageFile.ImageFile.load", "PIL.Image.open"):
        with monkeypatch.context() as patched:
            patched.setattr(name, no_memory)
            with pytest.raises(Unavailable, match=r"no memory left.*MEMORY_MB"):
                decode(FORMS["png"][0], LIMIT)
    # Decoders that say "broken data" when they got no memory.
    assert raster.memory_for(10**6)
    monkeypatch.setattr(raster, "memory_for", lambda _: False)
    with pytest.raises(Unavailable, match="no memory left"):
        decode(FORMS["jpeg"][0][:-200], LIMIT)


def test_bands_narrower_than_a_row_make_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    for band in (1, 7, 64, 100, 10**6):
        monkeypatch.setattr(raster, "BAND", band)
        np.testing.assert_array_equal(decode(FORMS["palette"][0], LIMIT), np.array(FORMS["palette"][1].convert("RGB")))
