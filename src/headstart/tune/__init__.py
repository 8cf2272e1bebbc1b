"""Adapting the source's own weights: what learns, the loop, and how a run survives a crash."""
