"""The command `fit`, as a list of steps."""
