"""The doors: how mergekit and lm-eval find this plugin without a flag. Loaded at interpreter start, so it is empty."""
