"""Canonical pixels: what the networks get to see of fixed pictures, value for value.

Vectors in Immich's database stay for years, so a library that starts to round otherwise must show here, and not in
them. The values were made with OpenCV 4.9 to 4.14, Pillow 10.3 to 12.3 and libvips 8.18.6 and 8.18.7, which agree in
all of them; Immich's own worker has Pillow 12.2 and OpenCV below 5. OpenCV 5 changes the crops of faces, Pillow 13 tall
pictures.

Hashes are compared on x86_64, where they were made. Other processors may fuse multiplications and additions when the
weights of a filter are computed, or bring routines of their own, which moves a value by one level now and then:
there the samples are compared instead, within one level.
"""

import hashlib
import platform
import re
from collections.abc import Callable
from importlib.metadata import version

import cv2
import numpy as np
import numpy.typing as npt
import PIL
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from project import PROJECT

from ml_target.imaging.picture import decode
from ml_target.tasks.clip.resize import shortest_side_crop, squash
from ml_target.tasks.faces.align import ARCFACE_POINTS, align, similarity
from ml_target.tasks.faces.letterbox import letterbox
from ml_target.tasks.faces.views import close_view, tiny_views
from ml_target.tasks.ocr.crop import cut, cut_line
from ml_target.tasks.ocr.tiles import Tiling, tiles
from ml_target.tensors import Float32, UInt8

EXACT = platform.machine() in ("x86_64", "AMD64")
IN_FLOATS = ("pages", "pages, halved")
"""Sums of numpy's BLAS, whose order follows the processor: a few values of a million are a level off."""
SAMPLES = 12
PIXELS = ("numpy", "opencv-python-headless", "pillow", "pyvips-binary", "simplejpeg")
SET_IN_STONE = (*PIXELS, "tokenizers", "sentencepiece", "onnxruntime")
PIECE = 2**15
"""Values of `noise` computed at a time: few enough for the processor's cache."""


def noise(height: int, width: int) -> UInt8:
    """H x W x 3 from whole numbers alone: no library's generator may move it."""
    made = np.empty(height * width * 3, np.uint8)
    for start in range(0, made.size, PIECE):
        mixed = np.arange(start + 1, min(start + PIECE, made.size) + 1, dtype=np.uint64)
        mixed *= np.uint64(6364136223846793005)
        mixed += np.uint64(1442695040888963407)
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(2862933555777941757)
        mixed ^= mixed >> np.uint64(32)
        made[start : start + PIECE] = mixed >> np.uint64(24)
    return made.reshape(height, width, 3)


PICTURE = noise(300, 400)
TURN = np.array([[0.94, -0.34], [0.34, 0.94]])
FACE: Float32 = (ARCFACE_POINTS * 1.37 @ TURN + [40, 60]).astype(np.float32)
SMALL_FACE: Float32 = (ARCFACE_POINTS * 0.3 + [200, 100]).astype(np.float32)
FACE_AT_THE_RIM: Float32 = FACE + np.float32(150)
ASKEW = np.array([(50, 60), (300, 90), (290, 140), (40, 110)], np.float32)
DOWNWARDS = np.array([(20, 30), (60, 30), (60, 200), (20, 200)], np.float32)


def webp() -> bytes:
    """A small lossy WebP file with chroma at half the size, made once with libwebp 1.6."""
    return bytes.fromhex(
        "524946463801000057454250565038202c010000500a009d012a2f0021003eed5ea84f29a4a3a23552baa9301d896c009d32"
        "8477df497d08a9dfe036b44adb6003dbd6e1a712b9c5274bcf964a50870a1fa2ea625d7f8bba6aa55e8cba17ce35a70e678a"
        "bd3b3dacbe32d4bbb7bd0000fe57c300f9de5dc4687736a200cb43ad17ffc31ee567c119f1265127fedb6df6b0829fd6f450"
        "98d7af1c0be143b3b399194c8fccaf02f8a9cc1816c61ada74203bdf9d6db7e4c0166bde87f87104fbffcf921ad6ed9a39bd"
        "615b50437a1f6443f9080f9ec50c4856fc8282354b187f90b886c4ecaca366474d5e665bffe150fea6bbddf53194041c24e2"
        "006d1516875da35fda82f2fa6c70681f9f79696a115b99651c3ab7ee0c3d5d5d5bc490d7d7064c884348073894da28cc513e"
        "70f26951b4cf663e99a75a7e78fb2e51e0f80000"
    )


def pages() -> UInt8:
    return np.concatenate(tiles(noise(300, 700), Tiling((160, 384), (160, 224), ((0, 0), (0, 160))), "BGR"))


MADE: dict[str, Callable[[], UInt8]] = {
    "face": lambda: align(PICTURE, FACE[None])[0],
    "small face": lambda: align(PICTURE, SMALL_FACE[None])[0],
    "face at the rim": lambda: align(PICTURE, FACE_AT_THE_RIM[None])[0],
    "letterbox, enlarged": lambda: letterbox(noise(97, 53), 320, 320)[0],
    "letterbox, reduced": lambda: letterbox(noise(901, 1200), 640, 640)[0],
    "close view": lambda: close_view(noise(901, 1200), 640, 640).frame,
    "tiny views": lambda: np.concatenate([view.frame for view in tiny_views(noise(2400, 1800), 640, 640)]),
    "squash, enlarged": lambda: squash(noise(97, 53), 224),
    "squash, reduced": lambda: squash(noise(901, 1200), 256),
    "shortest side, wide": lambda: shortest_side_crop(noise(300, 400), 224),
    "shortest side, tall": lambda: shortest_side_crop(noise(3000, 250), 224),
    "shortest side, reduced": lambda: shortest_side_crop(noise(901, 1200), 224),
    "shortest side, panorama": lambda: shortest_side_crop(noise(60, 9000), 224),
    "shortest side, tower": lambda: shortest_side_crop(noise(26000, 240), 224),
    "pages": pages,
    "pages, halved": lambda: tiles(noise(620, 830), Tiling((320, 416), (320, 416), ((0, 0),)), "BGR")[0],
    "line, askew": lambda: cut(PICTURE, ASKEW),
    "line, reduced": lambda: cut_line(PICTURE, ASKEW, 48, 240, "BGR"),
    "line, downwards": lambda: cut_line(PICTURE, DOWNWARDS, 48, 204, "RGB"),
    "JPEG": lambda: decode((PROJECT / "tests" / "test.jpg").read_bytes(), 10**8),
    "WebP": lambda: decode(webp(), 10**8),
}
CANON: dict[str, tuple[str, list[int]]] = {
    "face": ("7181f8cb2335a60b", [218, 59, 161, 125, 136, 107, 149, 141, 115, 109, 148, 179]),
    "small face": ("fe2b15e3f0c7286d", [79, 141, 193, 145, 150, 194, 197, 203, 172, 139, 175, 71]),
    "face at the rim": ("7d099dfc5f7286b9", [130, 88, 177, 129, 180, 127, 126, 98, 116, 0, 124, 0]),
    "letterbox, enlarged": ("c986ac4060a76e54", [0, 62, 0, 143, 18, 0, 176, 0, 15, 194, 0, 75]),
    "letterbox, reduced": ("d06ad841c55ebde5", [70, 191, 117, 164, 107, 153, 176, 121, 167, 0, 0, 0]),
    "close view": ("09d8e17e11e9a214", [51, 160, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    "tiny views": ("574c2e063f4b3479", [183, 96, 99, 122, 90, 113, 154, 57, 158, 170, 72, 116]),
    "squash, enlarged": ("8800f08ab8a7251a", [147, 117, 78, 137, 113, 101, 63, 239, 226, 121, 160, 70]),
    "squash, reduced": ("158e6c969f4a8519", [120, 140, 130, 120, 132, 115, 101, 137, 113, 145, 136, 123]),
    "shortest side, wide": ("728376c6fc41d424", [115, 167, 206, 168, 184, 178, 129, 59, 102, 136, 158, 38]),
    "shortest side, tall": ("24d38bc7781fca3c", [43, 245, 170, 221, 232, 158, 65, 137, 210, 150, 144, 186]),
    "shortest side, reduced": ("147f3fcb247acb5b", [160, 137, 128, 139, 154, 142, 112, 117, 119, 111, 135, 117]),
    "shortest side, panorama": ("56c70eefc4c6d8b0", [104, 123, 133, 54, 110, 56, 112, 116, 224, 29, 50, 98]),
    "shortest side, tower": ("fbb15c5484471a61", [154, 156, 84, 110, 119, 92, 127, 89, 137, 161, 82, 96]),
    "pages": ("5f4271cbacceb42b", [92, 89, 139, 116, 140, 173, 126, 96, 129, 68, 130, 143]),
    "pages, halved": ("6376132095aeb9b9", [135, 113, 109, 62, 169, 127, 130, 135, 102, 136, 101, 161]),
    "line, askew": ("c63fae31fa3fc0bc", [79, 90, 44, 176, 187, 74, 122, 163, 61, 25, 153, 168]),
    "line, reduced": ("1477bd62873684e1", [85, 123, 142, 132, 48, 135, 190, 217, 62, 131, 139, 160]),
    "line, downwards": ("59a4013884bce48c", [134, 38, 153, 195, 160, 68, 88, 64, 62, 173, 180, 115]),
    "JPEG": ("588423ede6096195", [226, 226, 210, 202, 132, 122, 246, 246, 246, 226, 226, 226]),
    "WebP": ("7cdec5dc65a60f97", [45, 129, 157, 212, 211, 106, 245, 169, 51, 178, 190, 43]),
}


def fingerprint(pixels: UInt8) -> tuple[str, list[int]]:
    """The hash of all values, and a few of them from all over the picture."""
    flat = np.ascontiguousarray(pixels).reshape(-1)
    places = np.linspace(0, flat.size - 1, SAMPLES + 2).astype(int)[1:-1]
    return hashlib.sha256(flat.tobytes()).hexdigest()[:16], flat[places].tolist()


def here() -> str:
    return f"OpenCV {cv2.__version__}, Pillow {PIL.__version__}, NumPy {np.__version__} on {platform.machine()}"


@pytest.mark.parametrize("name", MADE)
def test_pixels_are_what_they_were(name: str) -> None:
    digest, samples = fingerprint(MADE[name]())
    advice = (
        f"{name}: the pixels are no longer those that vectors were made from (here: {here()}). Bound that library in "
        "pyproject.toml; or, where Immich's own worker has made the same step, compare with it, write new values here "
        "and say in the changelog what has to be run again."
    )
    if EXACT and name not in IN_FLOATS:
        assert (digest, samples) == CANON[name], advice
    else:
        assert np.abs(np.array(samples) - CANON[name][1]).max() <= 1, advice


def warped(picture: UInt8, matrix: npt.NDArray[np.float64], size: int) -> UInt8:
    """OpenCV 4's bilinear warpAffine written down: places in 1/32 of a pixel, weights in 1/32768.

    `matrix`: 2 x 3, from picture to crop. OpenCV 5 computes places and weights in floats.
    """
    (a, b, c), (d, e, f) = matrix.tolist()
    scale = 1 / (a * e - b * d)
    a, b, d, e = e * scale, -b * scale, -d * scale, a * scale
    left, top = -a * c - b * f, -d * c - e * f
    steps = np.arange(size)

    def places(along: float, across: float, start: float) -> npt.NDArray[np.int64]:
        rows = np.rint((across * steps + start) * 1024).astype(np.int64) + 16
        columns = np.rint(along * steps * 1024).astype(np.int64)
        return np.asarray((rows[:, None] + columns) >> 5, np.int64)

    x, y = places(a, b, left), places(d, e, top)
    total = np.full((size, size, picture.shape[2]), 1 << 14, np.int64)
    for down in (0, 1):
        for right in (0, 1):
            share_x, share_y = (x & 31 if right else 32 - (x & 31)), (y & 31 if down else 32 - (y & 31))
            column, row = (x >> 5) + right, (y >> 5) + down
            inside = (column >= 0) & (column < picture.shape[1]) & (row >= 0) & (row < picture.shape[0])
            weight = share_x * share_y * 32 * inside
            total += (
                picture[row.clip(0, picture.shape[0] - 1), column.clip(0, picture.shape[1] - 1)] * weight[..., None]
            )
    return (total >> 15).astype(np.uint8)


@pytest.mark.parametrize("face", [FACE, SMALL_FACE, FACE_AT_THE_RIM], ids=["face", "small", "rim"])
def test_faces_are_cut_out_with_the_arithmetic_of_opencv_4(face: Float32) -> None:
    """As InsightFace's norm_crop does in Immich's own worker: the same function, the same flags, OpenCV below 5."""
    difference = np.abs(align(PICTURE, face[None])[0].astype(int) - warped(PICTURE, similarity(face), 112))
    assert difference.max() <= (0 if EXACT else 1), here()
    assert (difference > 0).mean() < 0.001, here()


# ------------------------------------------------------------------- bounds


def bounds(name: str) -> list[SpecifierSet]:
    """Every bound that pyproject.toml sets on a package."""
    text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    found = [Requirement(line) for line in re.findall(rf'"({name}[<>=!~ ][^"]*)"', text)]
    assert found, f"{name} is not in pyproject.toml"
    return [requirement.specifier for requirement in found]


@pytest.mark.parametrize("name", SET_IN_STONE)
def test_every_way_of_installing_bounds_the_major(name: str) -> None:
    """`cpu` and `hailo` add to the project's own requirements; the images take what requirements.txt has."""
    for bound in bounds(name):
        assert any(each.operator == "<" for each in bound), f"{name}{bound}: the next major would come by itself"
    locked = re.search(rf"(?m)^{name}==(\S+)", (PROJECT / "requirements.txt").read_text(encoding="utf-8"))
    assert locked, f"{name} is not in requirements.txt"
    for bound in bounds(name):
        assert bound.contains(locked[1]), f"requirements.txt has {name} {locked[1]}: scripts/lock_requirements.sh"


@pytest.mark.parametrize("name", SET_IN_STONE)
def test_these_tests_run_with_what_is_served(name: str) -> None:
    """The project's own requirement, which comes first in pyproject.toml: that of `hailo` is narrower."""
    assert bounds(name)[0].contains(version(name)), (
        f"{name} {version(name)} is here: run ./setup.sh test, or install anew"
    )
