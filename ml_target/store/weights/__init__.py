"""Text weights: a few tensors out of a large checkpoint, for the parts of CLIP that run on the processor."""
