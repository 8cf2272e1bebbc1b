"""The command `pretrain`, as a list of steps."""
