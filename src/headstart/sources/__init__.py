"""Pretrained networks, each with its own preprocessing, named by a URI."""
