"""The figures of a sweep and of a comparison, drawn with matplotlib."""
