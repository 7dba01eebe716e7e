"""Functions of the task `calib_bbh`."""
