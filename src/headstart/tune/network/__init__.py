"""The network that learns: its parameter groups, frozen prefix and head."""
