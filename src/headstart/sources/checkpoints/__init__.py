"""Released checkpoints: reading, checking and aligning their tensors."""
