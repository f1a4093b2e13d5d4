"""Fits a picture into a frame of fixed size, its proportions kept: at the top left, the rest black."""

import cv2
import numpy as np

from ml_target.tensors import UInt8


def letterbox(picture: UInt8, height: int, width: int) -> tuple[UInt8, float]:
    """The picture scaled to fit a frame, and the scale.

    `picture`: H x W x 3 uint8 of any colour order, both sides at least 1. Returns the frame,
    `height` x `width` x 3 uint8 in the same colour order, and the number to divide frame
    coordinates by to get picture coordinates.

    The rule is InsightFace's, to the bit: small pictures are enlarged, sides are truncated, OpenCV's
    bilinear filter without antialiasing, and the scale of the height stands for both axes. A
    picture so narrow that a side would vanish keeps one pixel, and its longer side gives the scale.
    """
    high, wide = picture.shape[:2]
    ratio = high / wide
    if ratio > height / width:
        new_height, new_width = height, int(height / ratio)
    else:
        new_height, new_width = int(width * ratio), width
    scale = new_height / high if new_height else new_width / wide
    new_height, new_width = max(new_height, 1), max(new_width, 1)
    frame = np.empty((height, width, 3), np.uint8)
    frame[new_height:], frame[:new_height, new_width:] = 0, 0
    content = frame[:new_height, :new_width]  # written where it belongs
    cv2.resize(picture, (new_width, new_height), dst=content, interpolation=cv2.INTER_LINEAR)
    return frame, scale
