"""Which versions of the hosts this plugin was made against."""

RELIED_ON = {"mergekit": "0.1.5", "lm-eval": "0.4.13"}
