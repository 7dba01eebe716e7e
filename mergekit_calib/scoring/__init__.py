"""Scoring a model on a suite of lm-eval tasks: tasks in, item tables out.

`loading` turns the suite entries of a recipe into lm-eval tasks and reports every mistake before a model is loaded.
`suite` builds their requests once and scores one model after another, `requests` runs the requests on a model, and
`item_tables` turns the answers of a task into its item table.
"""

from mergekit_calib.errors import HostVersionError
from mergekit_calib.versions import version_problem

# Before a module below fails to import something from an lm-eval that is too new.
if problem := version_problem("lm-eval"):
    raise HostVersionError(problem)
