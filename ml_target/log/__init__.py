"""What is written down while the worker runs."""
