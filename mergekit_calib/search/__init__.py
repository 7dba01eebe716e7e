"""Search: which point next, and the item scores on disk that are a study's memory. Knows no torch and no lm-eval."""
