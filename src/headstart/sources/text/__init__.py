"""Sources that read texts: encoders and word vectors."""
