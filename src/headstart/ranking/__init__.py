"""The command `rank`, which measures what each source is worth on the data."""
