"""Folders and archives: what each level is, which files are examples, and what lists and tables say of them."""
