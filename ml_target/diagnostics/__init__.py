"""What a person asks when something is not as it should be, and the commands that answer."""
