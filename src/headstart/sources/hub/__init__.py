"""Repositories of the Hugging Face hub: names, downloads, weights."""
