"""The progress and the result of a sweep in the terminal."""
