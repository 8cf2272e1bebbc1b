"""`headstart serve`: bundles behind HTTP, and a page in front of them."""
