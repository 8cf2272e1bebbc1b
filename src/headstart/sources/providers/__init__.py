"""The providers of sources, each imported on first use."""
