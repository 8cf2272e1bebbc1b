"""`evaluate` as a list of steps: a bundle on new labelled data."""
