"""Where a line of text has ink: the columns, told apart by how much they vary from top to bottom."""

import numpy as np

from ml_target.tensors import Float32, UInt8


def ink(line: UInt8) -> Float32:
    """The standard deviation of each column's brightness. `line`: H x W x 3 uint8, any colour order."""
    return np.asarray(line.mean(axis=2, dtype=np.float32).std(axis=0), np.float32)
