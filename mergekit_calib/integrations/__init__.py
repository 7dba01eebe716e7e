"""Hooks that activate the plugin in mergekit and lm-eval without a flag, and the runner of a sweep for a recipe's text.

`autoload` runs when an interpreter starts, and waits for the first import of a host (mergekit or lm-eval). `hooks` then
attaches the functions of `mergekit` and `lm_eval` to the hosts' modules. `recipe_runner` runs a sweep for a command,
while `run_log` keeps what the hosts write, and `trackers` logs to experiment trackers.
"""

import os

SWITCH = "MERGEKIT_CALIB_DISABLE"
"""The environment variable that switches the hooks off."""


def is_switched_off() -> bool:
    """Return whether the environment switches the hooks off.

    Empty, `0`, `false`, `no` and `off`, in any case, mean that they are active; every other value switches them off.
    """
    return os.environ.get(SWITCH, "").strip().lower() not in ("", "0", "false", "no", "off")
