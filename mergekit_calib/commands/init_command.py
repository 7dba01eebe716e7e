"""`mergekit-calib init`: write a first recipe for a base and an aligned model."""

from __future__ import annotations

from pathlib import Path

from mergekit_calib.errors import CalibError
from mergekit_calib.report.terminal.told_warnings import told_warnings


def init_recipe(base: str, aligned: str, to: Path | None, trust_remote_code: bool = False) -> str:
    """Return a first recipe for a pair of models, and write it to a file that does not exist yet.

    Args:
        base: the model before post-training, as mergekit names it.
        aligned: the model after it.
        to: the file; None to write none.
        trust_remote_code: whether code that comes with a model may run.

    Raises:
        CalibError: the file exists or cannot be written; or the models cannot be merged.
    """
    if to is not None and (to.exists() or to.is_symlink()):
        raise CalibError(f"{to} exists, and is not overwritten: name another file with --to")
    if to is not None and not to.parent.is_dir():
        raise CalibError(f"--to {to}: there is no folder {to.parent}")
    from mergekit_calib.integrations.first_recipe import first_recipe  # it imports torch and mergekit

    with told_warnings():
        text = first_recipe(base, aligned, trust_remote_code)
    if to is not None:
        try:
            with to.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as problem:
            raise CalibError(f"--to {to}: {problem.strerror or problem}") from problem
    return text
