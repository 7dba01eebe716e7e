"""Proposed answers that the model judges true or false."""
