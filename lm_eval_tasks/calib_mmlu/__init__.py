"""Functions of the task `calib_mmlu`."""
