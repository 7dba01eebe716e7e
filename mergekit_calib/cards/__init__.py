"""Calibration cards of models outside sweeps: made from the models, or from lm-eval's samples of them."""
