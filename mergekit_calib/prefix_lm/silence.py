"""Silence lm-eval's logging, for callers that report to the user themselves."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def silence_lm_eval(keep_progress_bars: bool = False) -> Iterator[None]:
    """Let lm-eval log nothing but errors within the `with` block.

    Args:
        keep_progress_bars: whether its progress bars are still shown. They cannot be switched off alone: if False,
            everything that is written to standard error is discarded, so keep the block short.
    """
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.nullcontext() if keep_progress_bars else contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
