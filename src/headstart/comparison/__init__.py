"""The command `compare`, as a list of steps."""
