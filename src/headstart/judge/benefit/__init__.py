"""What a source was worth against training from scratch."""
