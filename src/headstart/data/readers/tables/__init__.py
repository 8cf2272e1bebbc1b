"""Tables of any form: their cells, what each column is for, and the examples that they list or hold."""
