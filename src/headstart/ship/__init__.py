"""What leaves the machine: the bundle and its model card."""
