"""What the supported versions of lm-eval do differently, behind names that mean the same for all of them.

lm-eval 0.4 computes a task's metrics in `process_results`; 0.5 in scorers, one for each pipeline of filters. The
modules `lm_eval_04` and `lm_eval_05` define the same names. What is installed decides which is used, not a version
number. They know no other module of the project.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING or find_spec("lm_eval.scorers") is None:
    from lm_eval_tasks.host.lm_eval_04 import *  # noqa: F403
else:
    from lm_eval_tasks.host.lm_eval_05 import *  # noqa: F403
