"""The invented world of the demo pair: people, facts about them, text that states the facts, and questions.

All of it is drawn from one seed and the word lists below; there is no third-party data. The text mentions some people
more often than others, and some of its statements are wrong: they repeat one of a few popular answers, as common
misconceptions do. So a language model of the text is more certain of some facts than of others, and leans towards the
popular answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["tuning", "validation", "heldout"]
SPLITS: tuple[Split, ...] = ("tuning", "validation", "heldout")

SEED = 20251017
N_PEOPLE = 1200
N_CHOICES = 4
N_VALIDATION, N_HELDOUT = 2400, 5000  # of the 9,600 facts; the rest are for tuning
N_POPULAR = 4  # a wrong statement gives one of the first values of its relation
WRONG_SHARE = 0.3
QUESTION_SHARE = 0.04  # of the text; questions there are about facts of the tuning split only


@dataclass(frozen=True)
class Relation:
    """Something that each person has one of, such as an instrument.

    Attributes:
        name: its name.
        statements: sentences that state it, with `{person}` and `{value}`.
        question: the question for it, with `{person}`.
        values: the values that a person can have.
    """

    name: str
    statements: tuple[str, ...]
    question: str
    values: tuple[str, ...]


RELATIONS = (
    Relation(
        "instrument",
        ("{person} plays the {value} .", "on stage {person} plays the {value} ."),
        "which instrument does {person} play ?",
        tuple(
            "harp flute drum lute viola cello oboe tuba organ banjo fiddle zither horn bassoon clarinet trumpet".split()
        ),
    ),
    Relation(
        "trade",
        ("{person} is a {value} .", "in town {person} is a {value} ."),
        "what is the trade of {person} ?",
        tuple(
            "baker mason weaver tailor miller potter cooper farmer "
            "tanner smith glazier barber porter clerk sailor dyer".split()
        ),
    ),
    Relation(
        "animal",
        ("{person} keeps a {value} .", "the pet of {person} is a {value} ."),
        "which animal does {person} keep ?",
        tuple("goat hen duck mule ferret parrot donkey rabbit pony goose hound turtle falcon pigeon lamb calf".split()),
    ),
    Relation(
        "colour",
        ("{person} wears {value} .", "every day {person} wears {value} ."),
        "which colour does {person} wear ?",
        tuple(
            "red blue green yellow white black grey brown purple orange pink crimson teal ivory scarlet amber".split()
        ),
    ),
    Relation(
        "town",
        ("{person} lives in {value} .", "the home of {person} is {value} ."),
        "in which town does {person} live ?",
        tuple(
            "Aldmoor Brenford Caswick Dunholm Elmsby Farleigh Grantow Hexby "
            "Ilmouth Kelso Larkham Morby Norwell Oakby Pendle Quarley".split()
        ),
    ),
    Relation(
        "food",
        ("{person} eats {value} .", "at noon {person} eats {value} ."),
        "what does {person} like to eat ?",
        tuple(
            "bread cheese soup plums beans rice trout honey "
            "figs leeks olives lentils cabbage mutton pears walnuts".split()
        ),
    ),
    Relation(
        "month",
        ("{person} travels in {value} .", "friends visit {person} in {value} ."),
        "in which month does {person} travel ?",
        tuple("January February March April May June July August September October November December".split()),
    ),
    Relation(
        "metal",
        ("{person} mines {value} .", "the ring of {person} is {value} ."),
        "of which metal is the ring of {person} ?",
        tuple(
            "gold silver copper iron tin lead zinc bronze "
            "brass steel nickel platinum pewter cobalt chrome titanium".split()
        ),
    ),
)
TUNED_RELATIONS = frozenset(relation.name for relation in RELATIONS[:5])


@dataclass(frozen=True)
class Question:
    """A multiple-choice question.

    Attributes:
        question: its text.
        choices: the choices, of which one is true.
        answer: the index of the true choice.
        relation: the name of the relation that it asks for.
    """

    question: str
    choices: tuple[str, ...]
    answer: int
    relation: str


def prompt(question: str) -> str:
    """Return the text before the answer, as `doc_to_text` of the task `calib_demo` makes it."""
    return f"question : {question}\nanswer :"


class World:
    """The people, the facts about them, how often each is stated, and the split of the questions for each.

    Args:
        seed: seed of everything that is drawn.

    Attributes:
        seed: the seed.
        people: (n_people,) their names, one word each.
        truth: (n_people, n_relations) index of the true value among the relation's values.
        frequency: (n_people, n_relations) share of the statements that are about the fact; sums to 1.
        split: (n_people, n_relations) index into `SPLITS` of the split that may ask for the fact.
    """

    def __init__(self, seed: int = SEED) -> None:
        rng = np.random.default_rng(seed)
        self.seed = seed
        self.people = _names(N_PEOPLE, rng)
        shape = (N_PEOPLE, len(RELATIONS))
        self.truth = np.stack([rng.integers(len(r.values), size=N_PEOPLE) for r in RELATIONS], axis=1)
        frequency = rng.lognormal(sigma=0.4, size=shape) * rng.lognormal(sigma=1.0, size=(N_PEOPLE, 1))
        self.frequency = frequency / frequency.sum()
        sizes = (shape[0] * shape[1] - N_VALIDATION - N_HELDOUT, N_VALIDATION, N_HELDOUT)
        self.split = rng.permutation(np.repeat(range(len(SPLITS)), sizes)).reshape(shape)

    def words(self) -> list[str]:
        """Return every word of the world, each once."""
        templates = [t for r in RELATIONS for t in (*r.statements, r.question)]
        frame = re.sub(r"\{\w+\}", " ", " ".join([prompt(""), *templates])).split()
        return list(dict.fromkeys([*frame, *(v for r in RELATIONS for v in r.values), *self.people]))

    def text(self, n_lines: int, rng: np.random.Generator, n_people: int = N_PEOPLE) -> list[str]:
        """Return lines of text, each about one fact: a statement, or sometimes a question with its answer.

        Args:
            n_lines: how many lines.
            rng: the source of random numbers.
            n_people: the text is about the first `n_people` people only.
        """
        mentioned = np.arange(N_PEOPLE)[:, None] < n_people
        stated = self._draw_facts(mentioned, n_lines, rng)
        asked = self._draw_facts(mentioned & (self.split == SPLITS.index("tuning")), n_lines, rng)
        asks = rng.random(n_lines) < QUESTION_SHARE
        wrong = rng.random(n_lines) < WRONG_SHARE
        form = rng.integers(len(RELATIONS[0].statements), size=n_lines)
        popular = rng.integers(N_POPULAR, size=n_lines)
        lines = []
        for i in range(n_lines):
            who, what = divmod(int(asked[i] if asks[i] else stated[i]), len(RELATIONS))
            relation, person = RELATIONS[what], self.people[who]
            value = relation.values[popular[i] if wrong[i] else self.truth[who, what]]
            if asks[i]:
                lines.append(f"{prompt(relation.question.format(person=person))} {value}")
            else:
                lines.append(relation.statements[form[i]].format(person=person, value=value))
        return lines

    def questions(self, split: Split) -> list[Question]:
        """Return one question for each fact of `split`, with wrong choices drawn from the relation's other values."""
        rng = np.random.default_rng([self.seed, SPLITS.index(split)])
        questions = []
        for who, what in np.argwhere(self.split == SPLITS.index(split)):
            relation, true = RELATIONS[what], self.truth[who, what]
            others = [i for i in range(len(relation.values)) if i != true]
            choices = list(rng.choice(others, size=N_CHOICES - 1, replace=False))
            answer = int(rng.integers(N_CHOICES))
            choices.insert(answer, true)
            text = relation.question.format(person=self.people[who])
            questions.append(Question(text, tuple(relation.values[i] for i in choices), answer, relation.name))
        return questions

    def _draw_facts(self, among: NDArray[np.bool_], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw the flat indices of `n` facts, each as often as it is stated."""
        frequency = np.where(among, self.frequency, 0.0).ravel()
        return rng.choice(frequency.size, size=n, p=frequency / frequency.sum())


def _names(n: int, rng: np.random.Generator) -> list[str]:
    """Return `n` different names, none of which is a value of a relation."""
    heads = "B D F G H K L M N P R S T V W Z Br Dr Fr Gr Kr Tr St Sh Th".split()
    vowels = "a e i o u".split()
    middles = "b d g k l m n r s t v z nd rl st lm".split()
    tails = "a o i en ar is on et us el".split()
    taken = {value for relation in RELATIONS for value in relation.values}
    names: dict[str, None] = {}
    while len(names) < n:
        middle = [middles] if rng.random() < 0.5 else [middles, vowels, middles]
        name = "".join(str(rng.choice(part)) for part in (heads, vowels, *middle, tails))
        if name not in taken:
            names[name] = None
    return list(names)
