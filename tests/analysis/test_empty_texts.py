"""The share of empty texts is counted for every task that draws several, and stated with the models' names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from helpers.simulated_models import Model, items, without_choices
from mergekit_calib.analysis.empty_texts import empty_text_shares, notes_of_empty_texts
from mergekit_calib.items.table import ItemTable


def drawn(*texts: list[str], task: str = "stories") -> ItemTable:
    n = len(texts)
    table = items({"m": Model(1.0, 1.0)}, n, task=task)["m"]
    return replace(without_choices(table, {"vendi_score": np.ones(n)}), generations=list(texts))


def test_texts_without_characters_or_with_white_space_alone_are_empty():
    table = drawn(["once", " \n", "upon", ""], ["a", "time", ".", "\u00a0"])
    assert empty_text_shares({"group": [table]}) == {"stories": 3 / 8}


def test_a_task_without_empty_texts_or_with_one_text_for_a_document_is_not_mentioned():
    choices = items({"m": Model(1.0, 1.0)}, 3)["m"]
    tables = {"a": [choices], "b": [drawn(["once", "upon"])], "c": [drawn([""], [""], task="one")]}
    assert empty_text_shares(tables) == {}
    assert notes_of_empty_texts({"m": {}}) == []


def test_the_models_with_most_empty_texts_are_named():
    (note,) = notes_of_empty_texts({"λ = 0": {}, "λ = 1.2": {"stories": 0.12}})
    assert note.startswith("stories: 12 % of λ = 1.2's texts are empty.")
    shares = {f"λ = {k}": {"stories": k / 100, "poems": k / 1000} for k in range(1, 7)}
    of_stories, of_poems = notes_of_empty_texts(shares)
    assert of_stories.startswith(
        "stories: 6 % of λ = 6's texts are empty, 5 % of λ = 5's, 4 % of λ = 4's, at most 3 % of 3 more."
    )
    assert of_poems.startswith("poems: 0.6 % of λ = 6's texts are empty")
