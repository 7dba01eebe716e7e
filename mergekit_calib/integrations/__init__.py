"""The doors: how mergekit and lm-eval find this plugin without a flag."""
