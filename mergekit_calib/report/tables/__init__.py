"""The tables of a sweep and of a comparison: rows, data frames, Markdown and exports."""
