"""The calibration set on disk: one array for the compiler, a picture of each crop, and one picture of them all."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ml_target.errors import UnusableInput
from ml_target.system.folders import writable
from ml_target.tensors import UInt8

ARRAY, CROPS, SHEET = "calibration.npy", "crops", "sheet.png"
THUMB, ACROSS = 56, 32
"""Pixels of a crop on the sheet, and crops side by side."""


def require_empty(folder: Path) -> None:
    """Raises UnusableInput unless the folder is new or empty, and can be written: before an hour of looking."""
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise UnusableInput(f"{folder} cannot be read ({error.strerror})", "Name another folder.") from error
    if taken:
        raise UnusableInput(
            f"{folder} is there already and not empty; nothing in it is overwritten", "Name a new folder, or empty it."
        )
    if not writable(folder):
        raise UnusableInput(f"{folder} cannot be written", "Name a folder that this user may write.")


def write(folder: Path, crops: Sequence[UInt8]) -> None:
    """Writes all of it into an empty folder, or nothing. Raises UnusableInput."""
    there = folder.exists()
    try:
        (folder / CROPS).mkdir(parents=True)
        for number, crop in enumerate(crops, 1):
            Image.fromarray(crop).save(folder / CROPS / f"{number:05}.png")
        Image.fromarray(sheet(crops)).save(folder / SHEET)
        np.save(folder / ARRAY, np.stack(crops))
    except BaseException as error:
        for each in (folder / CROPS, folder / SHEET, folder / ARRAY):
            shutil.rmtree(each) if each.is_dir() else each.unlink(missing_ok=True)
        if not there and folder.is_dir():
            folder.rmdir()
        if isinstance(error, OSError):
            raise UnusableInput(
                f"{folder} cannot be written ({error.strerror})", "Free space there, or name another folder."
            ) from error
        raise


def sheet(crops: Sequence[UInt8]) -> UInt8:
    """All crops in rows, small: H x W x 3 uint8 RGB."""
    across = min(ACROSS, len(crops))
    down = -(-len(crops) // across)
    picture = np.zeros((down * THUMB, across * THUMB, 3), np.uint8)
    for number, crop in enumerate(crops):
        top, left = number // across * THUMB, number % across * THUMB
        picture[top : top + THUMB, left : left + THUMB] = cv2.resize(crop, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    return picture
