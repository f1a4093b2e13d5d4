"""A machine-learning worker for Immich: smart search, faces and text in photos."""

import os

# Before numpy is loaded: several threads have its BLAS multiply small matrices, where more of its own only wait.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = "0.1.0"
