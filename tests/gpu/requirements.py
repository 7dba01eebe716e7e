"""Print every package that the kit needs beside torch, with the version that is installed here, one to a line."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import tomllib
from packaging.requirements import Requirement

CHECKOUT = Path(__file__).parents[2]
ON_THE_MACHINE = re.compile(r"torch|triton.*|nvidia-.*|cuda-.*")  # what a CUDA build of torch brings


def closure(requirements: list[str]) -> dict[str, str]:
    """Return package → installed version, for requirements and what they require in turn."""
    found: dict[str, str] = {}
    waiting = [Requirement(text) for text in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        asked = waiting.pop()
        name = re.sub(r"[-_.]+", "-", asked.name).lower()
        if (name, frozenset(asked.extras)) in seen or ON_THE_MACHINE.fullmatch(name):
            continue
        seen.add((name, frozenset(asked.extras)))
        package = importlib.metadata.distribution(asked.name)
        found[name] = package.version
        for text in package.requires or ():
            wanted = Requirement(text)
            extras = asked.extras or {""}
            if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(wanted)
    return found


if __name__ == "__main__":
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, version in sorted(closure([*project["dependencies"], "pytest"]).items()):
        print(f"{name}=={version}")
