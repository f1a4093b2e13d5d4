"""What a person runs to look at the worker from the outside."""
