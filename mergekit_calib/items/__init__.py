"""Item scores: what one model scored on each document of a task, how they are stored, and the metrics over them."""
