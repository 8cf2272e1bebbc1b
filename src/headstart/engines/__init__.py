"""Running a frozen network fast: one protocol, one file an engine."""
