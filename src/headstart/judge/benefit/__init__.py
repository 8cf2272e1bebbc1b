"""The transfer benefit of a source over training from scratch."""
