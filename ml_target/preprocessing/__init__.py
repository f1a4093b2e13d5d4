"""Pictures in: pure functions on numpy arrays and Pillow images."""
