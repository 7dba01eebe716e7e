"""Functions of the task `calib_mmlu_pro`."""
