"""The log: how its lines look."""
