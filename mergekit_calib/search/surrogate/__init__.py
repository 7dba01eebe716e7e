"""Models of the scores of each item over the axes, which predict the scores of points that were not scored."""
