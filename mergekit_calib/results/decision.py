"""A decision that a person made after a sweep: a point, or a selection rule, in place of the recipe's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from typing_extensions import Self

from mergekit_calib.errors import CalibError
from mergekit_calib.results.names import point_name
from mergekit_calib.storage.atomic import write_text_atomic

FILE = "decision.yml"  # in `calibration/`
_HEADER = "# Written by `mergekit-calib write`. Without this file, the recipe's rule chooses.\n"


class Decision(BaseModel):
    """What to write in place of the choice of the recipe's rule: a point, or the choice of another rule.

    Attributes:
        point: the id of the point; None if a rule was given.
        axes: the point's setting; empty for a parent that is not on the axes.
        select: a selection rule with its options, as a recipe's `select`; None if a point was given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    point: str | None = None
    axes: dict[str, int | float | str] = {}
    select: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.point is None) == (self.select is None):
            raise ValueError("give either `point` or `select`")
        return self

    @classmethod
    def load(cls, calibration: Path) -> Decision | None:
        """Read the decision in a folder `calibration/`; None if there is none.

        Raises:
            CalibError: the file cannot be read.
        """
        file = calibration / FILE
        try:
            return cls.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, yaml.YAMLError, ValidationError, RecursionError) as problem:
            reason = str(problem).splitlines()[0]
            raise CalibError(
                f"{file} cannot be read ({reason}); remove it to let the recipe's rule choose, or decide again with "
                f"`mergekit-calib write {calibration.parent} --point …`"
            ) from problem

    def kept_in(self, out: Path) -> str:
        """Return a sentence that says so when a sweep runs again in `out`."""
        what = (
            f"by the rule {self.select.get('rule')}" if self.select is not None else f"of {point_name(str(self.point))}"
        )
        return (
            f"the choice {what}, made with `mergekit-calib write`, is kept; `mergekit-calib write {out} --rule recipe` "
            "lets the recipe's rule choose again"
        )

    def save(self, calibration: Path) -> None:
        """Write the decision into a folder `calibration/`."""
        text = yaml.safe_dump(self.model_dump(exclude_defaults=True), sort_keys=False, allow_unicode=True)
        write_text_atomic(calibration / FILE, _HEADER + text)

    @staticmethod
    def remove(calibration: Path) -> None:
        """Remove the decision from a folder `calibration/`, if there is one."""
        (calibration / FILE).unlink(missing_ok=True)
