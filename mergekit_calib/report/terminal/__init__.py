"""A running or finished sweep in the terminal."""
