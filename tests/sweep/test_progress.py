"""What a sweep tells reaches everyone who listens."""

from __future__ import annotations

import inspect

import pytest

from mergekit_calib.results.events import Progress, ProgressGroup

EVENTS = [name for name, _ in inspect.getmembers(Progress, inspect.isfunction) if not name.startswith("_")]


class Heard(Progress):
    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def __getattribute__(self, name: str) -> object:
        if name in EVENTS:
            return lambda *told: self.events.append((name, *told))
        return super().__getattribute__(name)


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_reaches_every_listener(event) -> None:
    first, second = Heard(), Heard()
    told = [object() for _ in list(inspect.signature(getattr(Progress, event)).parameters)[1:]]
    getattr(ProgressGroup(first, second), event)(*told)
    assert first.events == second.events == [(event, *told)]
