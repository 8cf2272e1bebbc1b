"""Features: computed once per example, stored, and asked many questions."""
