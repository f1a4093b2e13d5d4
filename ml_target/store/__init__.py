"""The model files: which exist, where to get the missing ones, and whether they are intact."""

from ml_target.store.folder import Store, all_damaged, fetch_arguments
from ml_target.store.weights.text import load_text_weights
from ml_target.transfer.progress import Progress

__all__ = ["Progress", "Store", "all_damaged", "fetch_arguments", "load_text_weights"]
