"""The console commands of `mergekit-calib`, one module each; `cli.py` declares their arguments."""
