"""Who gets a device next, and how much at a time."""
