"""One file a provider of sources, imported on first use."""
