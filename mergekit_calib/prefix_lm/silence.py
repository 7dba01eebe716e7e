"""lm-eval's own voice, turned off where a sweep speaks for itself."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_lm_eval(progress_bars: bool = False) -> Iterator[None]:
    """Within this, lm-eval logs errors only.

    Args:
        progress_bars: whether its bars on standard error, which have no switch, are let through. Where they are not,
            nothing else is: do not keep them out for longer than lm-eval builds something.
    """
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.nullcontext() if progress_bars else contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
