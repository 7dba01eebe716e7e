"""Warnings as a user reads them: this package's as one line each, and no other library's."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mergekit_calib.report.text.safe_text import on_one_line

_OURS = {"mergekit_calib", "lm_eval_tasks"}


@contextmanager
def told_warnings() -> Iterator[None]:
    """Within the `with` block, print this package's warnings on standard error as `warning: …`, each text once.

    Warnings of other libraries are about their own code, so they are not shown, unless Python was asked for warnings
    (`-W` or PYTHONWARNINGS).
    """
    told: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def tell(message: Warning | str, category: type[Warning], filename: str, *more: Any) -> None:
            text = on_one_line(str(message))
            if sys.warnoptions:
                show(message, category, filename, *more)
            elif _OURS & set(Path(filename).parts) and text not in told:
                told.add(text)
                sys.stderr.write(f"warning: {text}\n")

        warnings.showwarning = tell  # type: ignore[assignment]
        yield
