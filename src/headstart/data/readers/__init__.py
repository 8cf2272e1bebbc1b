"""Readers of every form in which a dataset comes."""
