"""What this program says: on the terminal and in the log."""
