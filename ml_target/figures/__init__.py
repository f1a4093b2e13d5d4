"""What the worker did: counted as it happens, for the page and for monitoring."""
