"""Hailo's HEF files, read without HailoRT."""
