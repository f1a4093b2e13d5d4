"""Weights, read out of the files that publishers give."""
