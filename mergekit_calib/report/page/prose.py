"""The page's prose below the charts: how much of it is shown, and what is folded away."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Sentences that the page shows outside tables and folded notes, the answer among them.
MOST_SENTENCES = 6
# The end of a sentence: `p = 1.00).` ends one, `T = 1.36 ` does not.
_END = re.compile(r"[.!?](?=[\s)\"”']|$)")


def n_sentences(text: str) -> int:
    """Return the number of sentences in a text; words after the last full stop count as one."""
    ends = list(_END.finditer(text.strip()))
    is_open = bool(text.strip()) and (not ends or re.search(r"\w", text.strip()[ends[-1].end() :]) is not None)
    return len(ends) + is_open


def shown_and_folded(answer: Sequence[str], statements: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split statements into those that are shown below the charts and those that are folded away.

    Args:
        answer: the lines at the top of the page. Their sentences count, so a long answer leaves less room.
        statements: the statements about a sweep, the most important first.

    Returns:
        The first statements that fit into `MOST_SENTENCES` sentences together with the answer, and the rest.
    """
    room = MOST_SENTENCES - sum(map(n_sentences, answer))
    n_shown = 0
    for statement in statements:
        room -= n_sentences(statement)
        if room < 0:
            break
        n_shown += 1
    return list(statements[:n_shown]), list(statements[n_shown:])
