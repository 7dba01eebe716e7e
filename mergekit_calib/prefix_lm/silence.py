"""Silence lm-eval's logging while something else, such as a sweep, reports to the user."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def silence_lm_eval(progress_bars: bool = False) -> Iterator[None]:
    """Let lm-eval log nothing but errors within the `with` block.

    Args:
        progress_bars: whether its progress bars are still shown. They cannot be switched off by themselves: without
            them, everything that is written to standard error is discarded, so keep the block short.
    """
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.nullcontext() if progress_bars else contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
