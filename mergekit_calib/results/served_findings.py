"""What a written model and its parents score as they will be served, for instance quantised: `served.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter

from mergekit_calib.results.findings import Difference, WithMetrics
from mergekit_calib.storage.atomic import write_text_atomic
from mergekit_calib.storage.set_aside import set_aside

FILE = "served.json"  # in `calibration/`


class ServedModel(WithMetrics):
    """A model's scores as it will be served, on the sweep's items.

    Attributes:
        point: the id of the point that it is.
        role: which parent it is, if it is one.
        metrics: scope → metric → split → estimate, as of a point.
        against_scored: objective name → paired difference, as served minus as the sweep scored it, on the held-out
            split.
        against_parents: role of a parent → objective name → paired difference, this model minus that parent, both as
            served, on the held-out split.
    """

    point: str
    role: str | None = None
    against_scored: dict[str, Difference] = Field(default_factory=dict)
    against_parents: dict[str, dict[str, Difference]] = Field(default_factory=dict)


class ServedCheck(BaseModel):
    """One form of serving, and the models in it.

    Attributes:
        model_args: arguments of lm-eval's `hf`, as the user gave them.
        point: the id of the written point.
        digest: the digest of its weights.
        models: the parents, then the written model, unless it is a parent.
        versions: package → the version that scored them.
    """

    model_args: dict[str, Any]
    point: str
    digest: str
    models: list[ServedModel]
    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def written(self) -> ServedModel:
        """The written model."""
        return next(model for model in self.models if model.point == self.point)

    @property
    def form(self) -> str:
        """The form of serving as people read it: `load_in_4bit: true`."""
        return ", ".join(f"{name}: {_shown(value)}" for name, value in self.model_args.items()) or "lm-eval's defaults"


_CHECKS = TypeAdapter(list[ServedCheck])


def load_checks(calibration: Path) -> list[ServedCheck]:
    """Read the checks in a folder `calibration/`; a file that cannot be read is set aside with a warning."""
    file = calibration / FILE
    try:
        return _CHECKS.validate_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as problem:
        reason = str(problem).splitlines()[0]
        set_aside(file, f"cannot be read ({reason})", "`mergekit-calib write --check` makes it anew from stored scores")
        return []


def save_check(check: ServedCheck, calibration: Path) -> None:
    """Add a check to those in a folder `calibration/`, in place of an earlier one of the same weights and form."""
    others = [c for c in load_checks(calibration) if (c.digest, c.model_args) != (check.digest, check.model_args)]
    write_text_atomic(calibration / FILE, _CHECKS.dump_json([*others, check], indent=1).decode() + "\n")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
