"""A machine-learning worker for Immich: smart search, faces and text in photos."""

__version__ = "0.1.0"
