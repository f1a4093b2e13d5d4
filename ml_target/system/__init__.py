"""Facts about the machine: limits, cards, folders. Imports no other room."""
