"""Sources that are torch networks."""
