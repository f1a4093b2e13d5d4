"""Tensors out: pure functions from a model's outputs to boxes, landmarks and text."""
