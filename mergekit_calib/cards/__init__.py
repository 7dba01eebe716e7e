"""Calibration cards of models that need not be points of a sweep: from the models, or from lm-eval's samples."""
