"""Write the eighteen recipes of the paper's experiment: three pairs, three merge methods, with and without chat template.

    python configs/paper/make_recipes.py FOLDER

Each is `template.yml`, filled in. The pairs and the methods are below.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import click
import jinja2

TEMPLATE = Path(__file__).with_name("template.yml")


@dataclass(frozen=True)
class Pair:
    """A base model and its aligned sibling, by their names on the Hub."""

    name: str
    base: str
    aligned: str


@dataclass(frozen=True)
class Method:
    """A merge method of mergekit, and its parameters besides λ."""

    name: str
    parameters: dict[str, float] = field(default_factory=dict)


PAIRS = (
    Pair("gemma3_12b", "google/gemma-3-12b-pt", "google/gemma-3-12b-it"),
    Pair("gemma3_27b", "google/gemma-3-27b-pt", "google/gemma-3-27b-it"),
    Pair("qwen2.5_7b", "Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B-Instruct"),
)
METHODS = (Method("linear"), Method("slerp"), Method("dare_ties", {"density": 0.5}))


def recipes() -> dict[str, str]:
    """Return name → the text of the recipe, for each of the eighteen."""
    template = jinja2.Template(TEMPLATE.read_text(), undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    texts = {}
    for pair, method, chat in itertools.product(PAIRS, METHODS, (False, True)):
        name = f"{pair.name}_{method.name}_{'chat' if chat else 'plain'}"
        texts[name] = template.render(name=name, pair=pair, method=method.name, parameters=method.parameters, chat=chat)
    return texts


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write the recipes into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in recipes().items():
        path = folder / f"{name}.yml"
        path.write_text(text)
        click.echo(path)


if __name__ == "__main__":
    main()
