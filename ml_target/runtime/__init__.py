"""A request on its way: what it waits for and what it may use."""
