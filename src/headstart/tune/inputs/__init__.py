"""What a network learns from: pictures, texts, stored rows, and their augmentation."""
