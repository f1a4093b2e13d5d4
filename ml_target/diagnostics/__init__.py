"""Commands that examine the worker from the outside."""
