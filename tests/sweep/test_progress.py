"""A group of listeners passes every event of a sweep on to each of them."""

from __future__ import annotations

import inspect

import pytest

from mergekit_calib.results.events import Progress, ProgressGroup

EVENTS = [name for name, _ in inspect.getmembers(Progress, inspect.isfunction) if not name.startswith("_")]


class Listener(Progress):
    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def __getattribute__(self, name: str) -> object:
        if name in EVENTS:
            return lambda *arguments: self.events.append((name, *arguments))
        return super().__getattribute__(name)


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_reaches_every_listener(event) -> None:
    first, second = Listener(), Listener()
    arguments = [object() for _ in list(inspect.signature(getattr(Progress, event)).parameters)[1:]]
    getattr(ProgressGroup(first, second), event)(*arguments)
    assert first.events == second.events == [(event, *arguments)]
