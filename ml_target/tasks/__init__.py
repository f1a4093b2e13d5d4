"""What the worker can do with a picture or a text: one package per task."""
