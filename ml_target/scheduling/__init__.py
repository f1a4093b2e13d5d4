"""Which model gets a device next, and how many frames at a time."""
