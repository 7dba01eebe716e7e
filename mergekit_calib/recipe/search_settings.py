"""The `search:` part of the block: the strategy, its budget, and racing."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mergekit_calib.recipe.suite_entry import Strict


class Racing(Strict):
    """Racing: a point that another one clearly dominates is stopped before its last item.

    Attributes:
        blocks: how many random blocks the selection split is scored in; after each block the point may be stopped.
        error: bound on the probability that the race stops any point that no other dominates.
    """

    blocks: int = Field(default=8, ge=2)
    error: float = Field(default=0.05, gt=0, lt=0.5)


class SearchSettings(BaseModel):
    """The search: its strategy and its budget. Keys that are not listed here are the strategy's own options.

    Attributes:
        strategy: the name of the strategy; None for `CalibrationBlock.strategy`.
        points: how many points are scored at most, without the parents.
        item_evaluations: how many documents are scored at most, over all points, with the parents.
        minutes: no point is begun later than this many minutes after the start of a command.
        racing: whether and how points are stopped early.
        seed: seed of the strategy's random numbers.
        storage: URL of the database that the study is kept in; None for a file in the run's folder. It is never
            written anywhere, since it may contain a password.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    strategy: str | None = Field(default=None, min_length=1)
    points: int | None = Field(default=None, ge=1)
    item_evaluations: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    racing: Racing | None = None
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    storage: str | None = Field(default=None, min_length=1, exclude=True, repr=False)

    @field_validator("racing", mode="before")
    @classmethod
    def _racing_by_default(cls, racing: Any) -> Any:
        return Racing() if racing is True else None if racing is False else racing

    @property
    def options(self) -> dict[str, Any]:
        """The strategy's own options."""
        return dict(self.model_extra or {})

    @property
    def has_budget(self) -> bool:
        """Whether anything limits the number of points."""
        return any(x is not None for x in (self.points, self.item_evaluations, self.minutes))
