"""Landmarks and boxes of faces, at random but always the same."""

import numpy as np

from ml_target.tasks.faces.align import ARCFACE_POINTS
from ml_target.tensors import Float32


def landmarks(count: int, size: float = 60, spread: float = 400) -> Float32:
    """Faces of about `size` pixels, turned and noisy, somewhere in a picture."""
    random = np.random.default_rng(11)
    angles = random.uniform(-np.pi, np.pi, count)
    turns = np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], -1).reshape(-1, 2, 2)
    scales = random.uniform(0.2, 2, (count, 1, 1)) * size / 112
    points = (ARCFACE_POINTS @ turns.transpose(0, 2, 1)) * scales + random.uniform(0, spread, (count, 1, 2))
    return np.asarray(points + random.normal(0, size / 30, points.shape), np.float32)


def random_boxes(count: int, seed: int) -> Float32:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 300, (count, 2))
    return np.hstack([corners, corners + random.uniform(1, 90, (count, 2))]).astype(np.float32)
