"""Print every package that the kit needs beside torch, with the version that is installed here, one to a line."""

from __future__ import annotations

import importlib.metadata
import re

from packaging.requirements import Requirement

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
    packages = closure(["mergekit-calib", "pytest"])
    del packages["mergekit-calib"]  # the checkout itself is used
    print("\n".join(f"{name}=={version}" for name, version in sorted(packages.items())))
