"""How mergekit and lm-eval find this plugin without a flag, and what runs a sweep from a recipe's text.

`autoload` runs when an interpreter starts, and waits for the first import of a host (mergekit or lm-eval). `hooks` then
attaches the functions of `mergekit` and `lm_eval` to the hosts' modules. `recipe_runner` runs a sweep for a command,
with `run_log` for what the hosts write meanwhile and `trackers` for experiment trackers.
"""
