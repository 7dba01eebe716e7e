"""Functions of the task `calib_gpqa`."""
