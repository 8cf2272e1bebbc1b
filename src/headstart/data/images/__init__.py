"""Photos: accepted formats, decoding, preprocessing."""
