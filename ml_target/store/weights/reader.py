"""Loads the text weights that a checkpoint was cut down to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from ml_target.remedies import damaged
from ml_target.tensors import Array


def load_text_weights(path: Path) -> Mapping[str, Array]:
    """The arrays of the .npz file, and those beside it as `<stem>.<array>.npy`, which are memory-mapped.

    Mapped arrays are read-only. Raises DamagedFileError when a file cannot be read.
    """
    beside = {npy.name[len(path.stem) + 1 : -len(".npy")]: npy for npy in path.parent.glob(f"{path.stem}.*.npy")}
    try:
        # Opened here: numpy leaves the file open when it is damaged.
        with path.open("rb") as file, cast(Any, np.load(file, allow_pickle=False)) as inside:
            arrays: dict[str, Array] = {name: inside[name] for name in inside.files}
        for name, npy in beside.items():
            if name not in arrays:
                arrays[name] = np.load(npy, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # what a damaged file makes numpy raise is not limited to a few kinds
        raise damaged(f"the text weights {path} cannot be loaded ({error})", path.name) from error
    return arrays
