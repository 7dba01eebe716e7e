"""The study: which points were proposed, which are running, what came of them; optuna's, shared by all workers."""

from __future__ import annotations

import hashlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from mergekit_calib.pareto import Direction
from mergekit_calib.recipe import Axis, Setting, Value
from mergekit_calib.recipe.axes import grid_size
from mergekit_calib.search.evaluation import Evaluation
from mergekit_calib.search.journal import distribution, emptied, open_study

_POINT, _REASON, _SESSION, _STOPPED, _ITEMS = "point", "reason", "session", "stopped", "items"
_TRIES = 5  # of a sampler that proposes what is known already, as it will once a small grid is nearly done


@dataclass(frozen=True)
class Proposal:
    """A point that was entered into the study as running.

    Attributes:
        number: optuna's number of the trial.
        setting: axis → value.
    """

    number: int
    setting: Setting


@dataclass(frozen=True)
class Evaluated:
    """A point that was scored, whole or until it was stopped.

    Attributes:
        setting: axis → value.
        measured: its objectives on the selection split.
        stopped: whether a race ended it early.
    """

    setting: Setting
    measured: Evaluation
    stopped: bool = False


@dataclass(frozen=True)
class Failure:
    """A point that failed in this session.

    Attributes:
        number: of its trial.
        setting: axis → value.
        reason: why.
        n_items: how many of its documents were scored.
    """

    number: int
    setting: Setting
    reason: str
    n_items: int


class Study:
    """The points of one search, as its strategy sees them.

    Attributes:
        axes: what is varied.
        directions: (n_objectives,) `maximize` or `minimize`.
        known: every scored point that stands in the space, parents included.
        optuna: the study itself; `optuna-dashboard` opens its file.

    Args:
        log: optuna's journal, or the URL of a database.
        name: of what all points of the study have in common; a file holds many studies.
        seed: of the samplers.
        session: of the workers that run at this time; points that failed in an earlier one are tried again.
        importance: as the attribute; only called where a strategy asks.
    """

    def __init__(
        self,
        log: Path | str,
        name: str,
        axes: Mapping[str, Axis],
        directions: Sequence[Direction],
        seed: int = 0,
        session: str = "",
        importance: Callable[[], dict[str, float]] = dict,
    ) -> None:
        self.axes, self.directions, self._importance = dict(axes), list(directions), importance
        self.known: list[Evaluated] = []
        self._mine: dict[int, optuna.Trial] = {}
        self.distributions = {axis: distribution(values) for axis, values in axes.items()}
        self._seed, self._session, self._log = seed, session, log
        self.optuna = open_study(log, name, self.directions)
        if not self._has_these_distributions():
            self.start_over()

    @cached_property
    def importance(self) -> dict[str, float]:
        """Axis → how far the parents differ in what it governs, the most being 1; without axes that govern no part."""
        return self._importance()

    def start(self, setting: Mapping[str, Value]) -> Proposal:
        """Propose the point at `setting`."""
        return self._ask(lambda: PartialFixedSampler(dict(setting), RandomSampler(seed=0)))

    def sample(self, sampler: Callable[[int], BaseSampler]) -> Proposal | None:
        """Propose the point that an optuna sampler, made with the seed that it is given, draws.

        Where it draws a point that is known, it draws again, and then any point that is left; None if there is none.
        """
        if grid_size(self.axes) < 1e6 and next(self.unexplored(), None) is None:
            return None
        for _ in range(_TRIES):
            proposal = self._ask(partial(sampler, self.next_seed))
            if not self.has(proposal.setting, but=proposal.number):
                return proposal
            self.optuna.tell(proposal.number, state=TrialState.FAIL)
        return None if (left := next(self.unexplored(), None)) is None else self.start(left)

    @property
    def first_seed(self) -> int:
        """One seed for the whole study."""
        return _mixed(f"{self._seed}")

    @property
    def next_seed(self) -> int:
        """Another for each trial, and the same when a run is repeated."""
        return _mixed(f"{self._seed}:{len(self.trials())}")

    @property
    def n_proposed(self) -> int:
        """How many points were proposed and came to something, or are running; parents aside."""
        counted = [t for t in self.trials() if self._is_point(t) and not self.is_forgotten(t)]
        return len({self._key(self.setting_of(t)) for t in counted})

    @property
    def running(self) -> list[Setting]:
        """Where workers are at this moment."""
        return [self.setting_of(t) for t in self.trials(TrialState.RUNNING)]

    def has(self, setting: Mapping[str, Value], but: int | None = None) -> bool:
        """Whether the point at `setting` is known, is running (other than as trial `but`), or has failed."""
        return self._key(setting) in self._taken(but)

    def unexplored(self) -> Iterator[Setting]:
        """The combinations of values that no one was on yet, in order; of ranges, points at random."""
        taken = self._taken()
        if any(axis.values is None for axis in self.axes.values()):
            rng = np.random.default_rng(self.next_seed)
            while True:
                yield {name: axis.place(_drawn(axis, rng)) for name, axis in self.axes.items()}
        for values in itertools.product(*(axis.levels for axis in self.axes.values())):
            setting = dict(zip(self.axes, values, strict=True))
            if self._key(setting) not in taken:
                yield setting

    # What the coordinator keeps of a point, from its proposal to its end.

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Optuna's trials, as they stand in the file now."""
        return self.optuna.get_trials(deepcopy=False, states=states or None)

    def setting_of(self, trial: FrozenTrial) -> Setting:
        """Where a trial stands; empty if its worker died before it was written down."""
        if trial.params.keys() != self.axes.keys():
            return {}
        return {name: axis.place(trial.params[name]) for name, axis in self.axes.items()}

    def is_forgotten(self, trial: FrozenTrial) -> bool:
        """Whether a trial says nothing of its point: its worker died, or it failed in an earlier session."""
        return trial.state is TrialState.FAIL and trial.user_attrs.get(_SESSION) != self._session

    @property
    def lost(self) -> list[Setting]:
        """Points whose worker died, and that no one has taken up."""
        failed = [t for t in self.trials(TrialState.FAIL) if _POINT in t.user_attrs]
        dead = [self.setting_of(t) for t in failed if _REASON not in t.user_attrs]
        return [setting for setting in dead if setting and not self.has(setting)]

    @property
    def failures(self) -> dict[str, Failure]:
        """Content key → what failed in this session."""
        failed = [t for t in self.trials(TrialState.FAIL) if _REASON in t.user_attrs and not self.is_forgotten(t)]
        return {
            t.user_attrs[_POINT]: Failure(
                t.number, self.setting_of(t), t.user_attrs[_REASON], t.user_attrs.get(_ITEMS, 0)
            )
            for t in failed
        }

    @property
    def told(self) -> dict[str, int]:
        """Content key → number, of the points whose values the study has."""
        return {t.user_attrs[_POINT]: t.number for t in self.trials(TrialState.COMPLETE) if _POINT in t.user_attrs}

    def name_point(self, number: int, key: str) -> None:
        """Note which point, by its content key, a trial of this worker is about."""
        self._mine[number].set_user_attr(_POINT, key)

    def tell(self, number: int, measured: Evaluation, stopped: bool = False) -> None:
        """The values of a running trial. A stopped point's are of the items that it was scored on."""
        if stopped and number in self._mine:
            self._mine[number].set_user_attr(_STOPPED, True)
        self.optuna.tell(number, measured.values.tolist(), skip_if_finished=True)

    def fail(self, number: int, reason: str | None, n_items: int = 0) -> None:
        """A running trial came to nothing: for a reason of its point's, or (None) because its worker died."""
        if reason is not None:
            for name, value in self._reasons(reason, n_items).items():
                self._mine[number].set_user_attr(name, value)
        self.optuna.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def add(self, setting: Mapping[str, Value], key: str, measured: Evaluation, role: str | None = None) -> None:
        """Enter a point that is scored already: a parent, or one that an earlier study or run left."""
        attributes: dict[str, Any] = {"role": role} if role else {_POINT: key}
        self.optuna.add_trial(
            optuna.trial.create_trial(
                params=dict(setting),
                distributions=self.distributions,
                values=measured.values.tolist(),
                user_attrs={**attributes, "content": key},
            )
        )

    def add_failure(self, setting: Mapping[str, Value], key: str, reason: str, n_items: int) -> None:
        """Enter a point that is scored already, but whose scores give no value."""
        self.optuna.add_trial(
            optuna.trial.create_trial(
                state=TrialState.FAIL,
                params=dict(setting),
                distributions=self.distributions,
                user_attrs={_POINT: key, **self._reasons(reason, n_items)},
            )
        )

    def has_content(self, key: str) -> bool:
        """Whether the point of that content key was added."""
        return any(t.user_attrs.get("content") == key for t in self.trials(TrialState.COMPLETE))

    def start_over(self) -> None:
        """Forget everything: the study says what the item scores do not."""
        self.optuna = emptied(self.optuna, self._log)

    def _taken(self, but: int | None = None) -> set[tuple[Value, ...]]:
        """Where points are known or running, or have failed."""
        trials = [t for t in self.trials() if t.number != but and not self.is_forgotten(t)]
        taken = {self._key(self.setting_of(t)) for t in trials if self._is_point(t)}
        return taken | {self._key(known.setting) for known in self.known}

    def _reasons(self, reason: str, n_items: int) -> dict[str, Any]:
        return {_REASON: reason, _SESSION: self._session, _ITEMS: n_items}

    def _has_these_distributions(self) -> bool:
        """Whether the study has the axes as this version has them: optuna takes one kind of distribution for each."""
        kinds = {name: type(own) for name, own in self.distributions.items()}
        return all(kinds.get(name) is type(d) for trial in self.trials() for name, d in trial.distributions.items())

    def _is_point(self, trial: FrozenTrial) -> bool:
        """Whether a trial is more than a proposal that was not taken up."""
        return trial.state is TrialState.RUNNING or _POINT in trial.user_attrs

    def _ask(self, sampler: Callable[[], BaseSampler]) -> Proposal:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts of optuna that are called experimental
            self.optuna.sampler = sampler()
            trial = self.optuna.ask(self.distributions)
        self._mine[trial.number] = trial
        return Proposal(trial.number, {name: axis.place(trial.params[name]) for name, axis in self.axes.items()})

    def _key(self, setting: Mapping[str, Value]) -> tuple[Value, ...]:
        return tuple(setting[name] for name in self.axes) if setting else ()


def _mixed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def _drawn(axis: Axis, rng: np.random.Generator) -> Value:
    if axis.values is None:
        return float(rng.uniform(axis.numbers[0], axis.numbers[1]))
    return axis.values[int(rng.integers(len(axis.values)))]
