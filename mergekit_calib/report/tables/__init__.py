"""The tables of a sweep: rows, data frames, and their export formats."""
