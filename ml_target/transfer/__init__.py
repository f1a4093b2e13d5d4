"""Brings bytes here: whole files or parts of them, from a web server or a disk. Knows nothing of models."""
