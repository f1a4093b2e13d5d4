"""What the worker can do with a picture or a text, a room each."""
