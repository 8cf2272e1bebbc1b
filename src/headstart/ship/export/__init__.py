"""A model as one graph that answers as `predict` does, without this package."""
