"""The text in a recipe's file, bounded in size."""

from __future__ import annotations

from pathlib import Path

from mergekit_calib.errors import RecipeError
from mergekit_calib.recipe.yaml_reader import MOST_CHARACTERS, WHOLE_FILE

_MOST_BYTES = 4 * MOST_CHARACTERS


def read_file(path: Path) -> str:
    """Return the text of a recipe's file.

    Raises:
        RecipeError: it cannot be read, is too large, or is not UTF-8.
    """
    return decoded(read_beginning(path), str(path))


def read_beginning(path: Path) -> bytes:
    """Return a file's bytes, or only the first of one that is larger than any recipe.

    Raises:
        RecipeError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES + 1)
    except OSError as problem:
        raise RecipeError(WHOLE_FILE, f"cannot be read: {problem.strerror}", str(path)) from None


def decoded(data: bytes, source: str) -> str:
    """Return the text in a recipe's bytes.

    Args:
        data: as `read_beginning` returns them.
        source: the file, for messages.

    Raises:
        RecipeError: there are too many, or they are not UTF-8.
    """
    if len(data) > _MOST_BYTES:
        raise RecipeError(WHOLE_FILE, f"is larger than {_MOST_BYTES:,} bytes, too large for a recipe", source)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        message = f"line {line}: byte 0x{data[problem.start]:02x} is not UTF-8: save the file as UTF-8"
        raise RecipeError(WHOLE_FILE, message, source) from None
