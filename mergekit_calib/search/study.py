"""The study: an optuna study of the proposed points, shared by all workers of a search."""

from __future__ import annotations

import hashlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from mergekit_calib.items.store import Tables
from mergekit_calib.pareto import Direction
from mergekit_calib.recipe import Axis, Setting, Value
from mergekit_calib.recipe.axes import grid_size
from mergekit_calib.search.evaluation import Evaluation, Evaluator
from mergekit_calib.search.journal import distribution, emptied, open_study

_POINT, _REASON, _SESSION, _STOPPED, _ITEMS = "point", "reason", "session", "stopped", "items"
_NOTHING = "nothing to propose"
_MAX_DRAWS = 5  # of a sampler that draws points that were proposed before, as happens when few points are left


@dataclass(frozen=True)
class Proposal:
    """A point that the study has noted as running.

    Attributes:
        number: optuna's number of the trial.
        setting: axis → value.
    """

    number: int
    setting: Setting


@dataclass(frozen=True)
class Evaluated:
    """A scored point of the space with its objectives.

    Attributes:
        setting: axis → value.
        evaluation: the objectives on the selection split.
        stopped: whether a race stopped the point, so that only part of the items is scored.
        tables: its item scores, for strategies that predict those of other points.
        role: which parent it is, if it is one.
    """

    setting: Setting
    evaluation: Evaluation
    stopped: bool = False
    tables: Tables = field(default_factory=dict)
    role: str | None = None


@dataclass(frozen=True)
class Failure:
    """A point that failed in this session.

    Attributes:
        number: optuna's number of the trial.
        setting: axis → value.
        reason: why the point failed.
        n_items: how many of its documents were scored.
    """

    number: int
    setting: Setting
    reason: str
    n_items: int


class Study:
    """The points of one search: proposed, running, scored and failed.

    Attributes:
        axes: name → axis.
        directions: (n_objectives,) `maximize` or `minimize`.
        evaluated: every scored point of the space, parents included.
        parent_evaluations: the objectives of every scored parent, also of one that is no point of the space.
        evaluator: computes the objectives from item scores, also from predicted ones; None if no strategy needs it.
        choose: the item scores of points and their roles as parents → the indices of those that the sweep's selection
            rule chooses: first as the sweep will choose, then on each split that its choice is also made on; None as
            above.
        parents: the settings of the parents that are points of the space; they are scored without being proposed.
        failed_parents: those of `parents` that could not be scored.
        distributions: name → optuna's form of the axis.
        session: the id of the current session of workers.
        optuna: optuna's study; `optuna-dashboard` opens its file.

    Args:
        log: optuna's journal, or the URL of a database.
        name: the name of the study; a journal or database can hold several studies.
        axes: name → axis.
        directions: (n_objectives,) `maximize` or `minimize`.
        seed: the seed of the samplers.
        session: the id of the current session of workers; points that failed in an earlier session are tried again.
        importance: returns the property `importance`; it is called only if a strategy needs it.
        evaluator: as the attribute.
        choose: as the attribute.
        parents: as the attribute.
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
        evaluator: Evaluator | None = None,
        choose: Callable[[Sequence[Tables], Sequence[str | None]], list[int]] | None = None,
        parents: Sequence[Setting] = (),
    ) -> None:
        self.axes, self.directions, self._importance = dict(axes), list(directions), importance
        self.evaluator, self.choose = evaluator, choose
        self.parents, self.failed_parents = list(parents), list[Setting]()
        self.evaluated: list[Evaluated] = []
        self.parent_evaluations: list[Evaluation] = []
        self._own_trials: dict[int, optuna.Trial] = {}
        self.distributions = {axis: distribution(values) for axis, values in axes.items()}
        self.session = session
        self._seed, self._log = seed, log
        self.optuna = open_study(log, name, self.directions)
        if not self._has_these_distributions():
            self.start_over()

    @cached_property
    def importance(self) -> dict[str, float]:
        """Axis → how much the parents' weights differ in the part of the model that it governs, at most 1.

        Axes that govern no part are left out.
        """
        return self._importance()

    def start(self, setting: Mapping[str, Value]) -> Proposal:
        """Propose the point at `setting`, and note it as running."""
        return self._ask(lambda: PartialFixedSampler(dict(setting), RandomSampler(seed=0)))

    def sample(self, sampler: Callable[[int], BaseSampler]) -> Proposal | None:
        """Propose a point that an optuna sampler draws.

        If the sampler draws points that were proposed before, a point at random is proposed instead (of a finite space,
        the first that is left).

        Args:
            sampler: returns the sampler, given a seed.

        Returns:
            The proposal; None if every point was proposed already.
        """
        if grid_size(self.axes) < 1e6 and next(self.unexplored(), None) is None:
            return None
        for _ in range(_MAX_DRAWS):
            proposal = self._ask(partial(sampler, self.next_seed))
            if not self.has(proposal.setting, but=proposal.number):
                return proposal
            self.optuna.tell(proposal.number, state=TrialState.FAIL)
        return None if (left := next(self.unexplored(), None)) is None else self.start(left)

    @property
    def first_seed(self) -> int:
        """A seed for the whole study."""
        return _seed_from(f"{self._seed}")

    @property
    def next_seed(self) -> int:
        """A seed for the next trial; a repeated run gets the same ones."""
        return _seed_from(f"{self._seed}:{len(self.trials())}")

    @property
    def n_proposed(self) -> int:
        """How many points are running, scored or failed, without the parents."""
        counted = [t for t in self.trials() if self._is_point(t) and not self._is_void(t)]
        return len({self._key(self.setting_of(t)) for t in counted})

    @property
    def running(self) -> list[Setting]:
        """The settings of the points that workers are scoring now."""
        return [self.setting_of(t) for t in self.trials(TrialState.RUNNING)]

    def has(self, setting: Mapping[str, Value], but: int | None = None) -> bool:
        """Return whether the point at `setting` is running, scored or failed.

        Args:
            setting: axis → value.
            but: the number of a trial that is ignored.
        """
        return self._key(setting) in self._taken(but)

    def unexplored(self) -> Iterator[Setting]:
        """Yield the settings that were not proposed yet; random ones without end if an axis is a range."""
        taken = self._taken()
        if any(axis.values is None for axis in self.axes.values()):
            rng = np.random.default_rng(self.next_seed)
            while True:
                yield {name: axis.place(_random_value(axis, rng)) for name, axis in self.axes.items()}
        for values in itertools.product(*(axis.levels for axis in self.axes.values())):
            setting = dict(zip(self.axes, values, strict=True))
            if self._key(setting) not in taken:
                yield setting

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return optuna's trials as they are in the file now; only those in one of `states`, if any is given."""
        return self.optuna.get_trials(deepcopy=False, states=states or None)

    def setting_of(self, trial: FrozenTrial) -> Setting:
        """Return the setting of a trial; empty if its worker died before it was written."""
        if trial.params.keys() != self.axes.keys():
            return {}
        return {name: axis.place(trial.params[name]) for name, axis in self.axes.items()}

    @property
    def lost(self) -> list[Setting]:
        """The settings of points whose worker died, and that no other worker has begun since."""
        failed = [t for t in self.trials(TrialState.FAIL) if _POINT in t.user_attrs]
        lost = [self.setting_of(t) for t in failed if _REASON not in t.user_attrs]
        return [setting for setting in lost if setting and not self.has(setting)]

    @property
    def failures(self) -> dict[str, Failure]:
        """Content key → failure, of the points that failed in this session."""
        failed = [t for t in self.trials(TrialState.FAIL) if _REASON in t.user_attrs and not self._is_void(t)]
        return {
            t.user_attrs[_POINT]: Failure(
                t.number, self.setting_of(t), t.user_attrs[_REASON], t.user_attrs.get(_ITEMS, 0)
            )
            for t in failed
        }

    @property
    def nothing_to_propose(self) -> Any:
        """What any worker noted when the strategy proposed no point; None before that."""
        return self.optuna.user_attrs.get(_NOTHING)

    @nothing_to_propose.setter
    def nothing_to_propose(self, note: Any) -> None:
        self.optuna.set_user_attr(_NOTHING, note)

    @property
    def completed(self) -> dict[str, int]:
        """Content key → number of the trial, of the points whose objectives are in optuna's study."""
        return {t.user_attrs[_POINT]: t.number for t in self.trials(TrialState.COMPLETE) if _POINT in t.user_attrs}

    def name_point(self, number: int, key: str) -> None:
        """Note the content key of the point that a trial of this worker stands for."""
        self._own_trials[number].set_user_attr(_POINT, key)

    def tell(self, number: int, evaluation: Evaluation, stopped: bool = False) -> None:
        """Note that a running trial is complete.

        Args:
            number: the trial's number.
            evaluation: the point's objectives; of the items that were scored, if the point was stopped.
            stopped: whether a race stopped the point.
        """
        if stopped and number in self._own_trials:
            self._own_trials[number].set_user_attr(_STOPPED, True)
        self.optuna.tell(number, evaluation.values.tolist(), skip_if_finished=True)

    def fail(self, number: int, reason: str | None, n_items: int = 0) -> None:
        """Note that a running trial failed.

        Args:
            number: the trial's number.
            reason: why the point cannot be scored; None if its worker died, so that another one can try it.
            n_items: how many of its documents were scored.
        """
        if reason is not None:
            for name, value in self._reasons(reason, n_items).items():
                self._own_trials[number].set_user_attr(name, value)
        self.optuna.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def add(self, setting: Mapping[str, Value], key: str, evaluation: Evaluation, role: str | None = None) -> None:
        """Add a point that is scored already: a parent, or a point of an earlier run.

        Args:
            setting: axis → value.
            key: the point's content key.
            evaluation: the point's objectives.
            role: which parent the point is, if it is one.
        """
        attributes: dict[str, Any] = {"role": role} if role else {_POINT: key}
        self.optuna.add_trial(
            optuna.trial.create_trial(
                params=dict(setting),
                distributions=self.distributions,
                values=evaluation.values.tolist(),
                user_attrs={**attributes, "content": key},
            )
        )

    def add_failure(self, setting: Mapping[str, Value], key: str, reason: str, n_items: int) -> None:
        """Add a point that is scored already, but whose objectives cannot be computed from its scores.

        Args:
            setting: axis → value.
            key: the point's content key.
            reason: why they cannot be computed.
            n_items: how many of its documents were scored.
        """
        self.optuna.add_trial(
            optuna.trial.create_trial(
                state=TrialState.FAIL,
                params=dict(setting),
                distributions=self.distributions,
                user_attrs={_POINT: key, **self._reasons(reason, n_items)},
            )
        )

    def has_content(self, key: str) -> bool:
        """Return whether the point with that content key was added."""
        return any(t.user_attrs.get("content") == key for t in self.trials(TrialState.COMPLETE))

    def start_over(self) -> None:
        """Delete all trials, because the study disagrees with the item scores."""
        self.optuna = emptied(self.optuna, self._log)

    def _taken(self, but: int | None = None) -> set[tuple[Value, ...]]:
        """Return the keys of all points that are running, scored or failed; without trial number `but`."""
        trials = [t for t in self.trials() if t.number != but and not self._is_void(t)]
        taken = {self._key(self.setting_of(t)) for t in trials if self._is_point(t)}
        return taken | {self._key(point.setting) for point in self.evaluated}

    def _reasons(self, reason: str, n_items: int) -> dict[str, Any]:
        return {_REASON: reason, _SESSION: self.session, _ITEMS: n_items}

    def _has_these_distributions(self) -> bool:
        """Return whether the trials have the kinds of distributions that this version makes; optuna accepts no mix."""
        kinds = {name: type(own) for name, own in self.distributions.items()}
        return all(kinds.get(name) is type(d) for trial in self.trials() for name, d in trial.distributions.items())

    def _is_point(self, trial: FrozenTrial) -> bool:
        """Return whether a trial stands for a point, not for a draw that was rejected."""
        return trial.state is TrialState.RUNNING or _POINT in trial.user_attrs

    def _is_void(self, trial: FrozenTrial) -> bool:
        """Return whether a trial failed, but its point may be tried again: its worker or its session has ended."""
        return trial.state is TrialState.FAIL and trial.user_attrs.get(_SESSION) != self.session

    def _ask(self, sampler: Callable[[], BaseSampler]) -> Proposal:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # optuna warns that some of its parts are experimental
            self.optuna.sampler = sampler()
            trial = self.optuna.ask(self.distributions)
        self._own_trials[trial.number] = trial
        return Proposal(trial.number, {name: axis.place(trial.params[name]) for name, axis in self.axes.items()})

    def _key(self, setting: Mapping[str, Value]) -> tuple[Value, ...]:
        return tuple(setting[name] for name in self.axes) if setting else ()


def _seed_from(text: str) -> int:
    """Return a 32-bit seed made from a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def _random_value(axis: Axis, rng: np.random.Generator) -> Value:
    if axis.values is None:
        return float(rng.uniform(axis.numbers[0], axis.numbers[1]))
    return axis.values[int(rng.integers(len(axis.values)))]
