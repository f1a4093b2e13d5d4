"""Made-up vectors as a search model's: unit length, a few directions, turned by a known cosine."""

import numpy as np

from ml_target.tensors import Array, Float32

WIDTH = 512


def unit(rows: Array) -> Float32:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


PLANE = np.linalg.qr(np.random.default_rng(7).normal(size=(WIDTH, 6)))[0].T


def space(seed: int, count: int) -> Float32:
    """Unit vectors with few directions of their own, as those of photos have: rankings have margins."""
    return unit(np.random.default_rng(seed).normal(size=(count, 6)) @ PLANE)


def moved(rows: Float32, cosine: float, seed: int = 3) -> Float32:
    """The rows, each turned so far that its cosine with itself is `cosine`."""
    noise = np.random.default_rng(seed).normal(size=rows.shape)
    aside = unit(noise - np.einsum("nd,nd->n", noise, rows)[:, None] * rows)
    return unit(cosine * rows + np.sqrt(1 - cosine**2) * aside)
