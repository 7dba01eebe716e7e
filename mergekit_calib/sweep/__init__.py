"""The sweep: check it, score its points, choose one and write it."""
