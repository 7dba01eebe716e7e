"""Read mutated recipes, and print what came of them; exit status 1 if any is a fault.

    python tests/faults/mutated_recipes.py --n 100000 --seed 0 [--first 0] [--processes 1]

`--first` says which number to begin with, so that several commands can share the work.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import warnings
from collections import Counter
from functools import partial

from recipe_mutations import mutant, recipes
from recipe_outcomes import Outcome, outcome

_SHOWN = 3  # examples of each kind of fault


def main() -> int:
    """Read mutants, print a table of outcomes and examples of faults, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    prepare()
    kinds, examples = Counter[str](), dict[str, list[str]]()
    slowest, most = 0.0, 0.0
    numbers = range(given.first, given.first + given.n)
    with multiprocessing.get_context("fork").Pool(given.processes) as pool:
        for number, made, result in pool.imap(partial(_one, given.seed), numbers, chunksize=50):
            kinds[result.kind] += 1
            slowest, most = max(slowest, result.seconds), max(most, result.megabytes)
            shown = examples.setdefault(result.kind, [])
            if result.is_fault and len(shown) < _SHOWN:
                shown.append(f"{number} ({made}):\n{result.detail}")
    for kind, lines in examples.items():
        for line in lines:
            print(f"\n{kind}: mutant {line}")
    print(f"\n| outcome | of {given.n:,} (seed {given.seed}, from {given.first}) |\n| --- | ---: |")
    for kind, count in kinds.most_common():
        print(f"| {kind} | {count:,} |")
    print(f"\nslowest: {slowest:.2f} s; most memory beyond the imports: {most:.0f} MB")
    return int(any(lines for lines in examples.values()))


def prepare() -> None:
    """Import what reading a recipe needs, so that no mutant's time and memory contain it."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    from mergekit_calib.merging.method import register

    register()
    for text in recipes().values():
        outcome(text)


def _one(seed: int, number: int) -> tuple[int, str, Outcome]:
    text, made = mutant(seed, number, recipes_once())
    return number, made, outcome(text)


_BASES: dict[str, str] = {}


def recipes_once() -> dict[str, str]:
    """Return the recipes to mutate; their files are read once."""
    if not _BASES:
        _BASES.update(recipes())
    return _BASES


if __name__ == "__main__":
    sys.exit(main())
