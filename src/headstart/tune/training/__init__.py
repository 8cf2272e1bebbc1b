"""The one training loop, its losses, schedule and checkpoints."""
