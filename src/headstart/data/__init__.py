"""Labelled examples: finding, checking, splitting and decoding them."""
