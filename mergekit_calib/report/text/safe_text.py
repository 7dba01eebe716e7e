"""Text from elsewhere, made safe to show: the one place that decides what a name may do to the text around it.

Names of models, tasks, metrics, axes, folders and files may hold any character. Every report passes its text through
`printable` where it leaves: pages in `page/templates.py`, cards and tables in `escape_markdown`, LaTeX in `latex`, CSV
in `csv_text`, pictures in `drawing.render`, terminals in `SafeConsole`. Each of these then escapes its own markup.
"""

from __future__ import annotations

import re

# Controls but line breaks; line and paragraph separators; marks, embeddings, overrides and isolates of writing
# direction; the byte order mark; surrogates (bytes of file names that are no text), which no file can hold;
# non-characters; tags.
_ACTING = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff"
    "\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""Return text in which characters that act instead of showing are escapes, as `\x1b` or `\u202e`.

    Line breaks are kept, and a tab becomes a space. What a font or a terminal shows stays as it is, in any script.
    """
    return text if text.isascii() and text.isprintable() else _ACTING.sub(_escape, text)


def on_one_line(text: str) -> str:
    """Return printable text whose runs of white space are one space."""
    return " ".join(printable(text).split())


def storable(text: str) -> str:
    r"""Return text that a file can hold: bytes of a file's name that are no text are written as `\udcff`."""
    return text.encode(errors="backslashreplace").decode()


def cut(text: str, longest: int) -> str:
    """Return text of at most `longest` characters, with its middle left out if it is longer."""
    if len(text) <= longest:
        return text
    end = (longest - 1) // 3
    return f"{text[: longest - 1 - end]}…{text[len(text) - end :]}"


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    if character == "\t":
        return " "
    return character.encode("ascii", "backslashreplace").decode() if character > "\x7f" else f"\\x{ord(character):02x}"
