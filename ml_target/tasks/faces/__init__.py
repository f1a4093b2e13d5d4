"""Faces: found, aligned, described as vectors."""
