"""An entry of a sweep's suite: a task, and lm-eval's options of its evaluation."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

_FORMER_SPLITS = {"report": "held_out"}


class Strict(BaseModel):
    """A part of the block: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SuiteOptions(Strict):
    """lm-eval's options of an evaluation; each means what lm-eval's option of the same name means.

    In the block they apply to the whole suite, in an entry to that entry. `None` leaves the task's own setting.
    """

    num_fewshot: int | None = Field(default=None, ge=0)
    limit: int | float | None = Field(default=None, gt=0, allow_inf_nan=False)
    apply_chat_template: bool | str | None = None
    fewshot_as_multiturn: bool | None = None
    system_instruction: str | None = None
    gen_kwargs: dict[str, Any] | None = None
    repeats: int | None = Field(default=None, ge=1)


class SuiteEntry(SuiteOptions):
    """One entry of the suite.

    Attributes:
        task: an lm-eval task, group or tag, or the path of a task's YAML file.
        split: the split that all of its documents belong to, instead of each by its hash. So points can be chosen on
            one benchmark and reported on another.
    """

    task: str = Field(min_length=1)
    split: Literal["selection", "held_out"] | None = None
    _name: str | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _accept_the_former_name(cls, given: Any) -> Any:
        """Read `half: selection` or `half: report`, as recipes before version 0.2 name the split."""
        if not isinstance(given, dict) or "half" not in given or "split" in given:
            return given
        former = given["half"]
        return {**{k: v for k, v in given.items() if k != "half"}, "split": _FORMER_SPLITS.get(str(former), former)}

    @property
    def name(self) -> str:
        """The entry's name in results: its task's, group's or tag's; the path of a file until `named` is called."""
        return self._name or self.task

    def named(self, name: str) -> SuiteEntry:
        """Return the same entry with another name in results."""
        entry = self.model_copy()
        entry._name = name
        return entry
