"""Write a point as its adapter, to be served beside the base, in place of a merged model."""

from __future__ import annotations

from pathlib import Path

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.scaled_adapter import adapter_factor, check_adapter_scales, write_scaled_adapter
from mergekit_calib.merging.tokenizer import copy_tokenizer_files
from mergekit_calib.recipe import Point
from mergekit_calib.sweep.prepared import Prepared


def check_adapter_form(point: Point, prepared: Prepared) -> None:
    """Raise an error unless a point is its base with a scaled adapter.

    Args:
        point: the point.
        prepared: the sweep.

    Raises:
        CalibError: it is not; the message says why.
    """
    adapter, _ = adapter_factor(point.recipe)
    if prepared.tokenizer.changes_weights:
        raise CalibError("--as adapter: the recipe's tokenizer settings change the embeddings, which no adapter holds")
    check_adapter_scales(adapter)


def write_adapter_form(point: Point, prepared: Prepared, to: Path) -> None:
    """Write a point's adapter, its plain recipe and the tokenizer.

    Args:
        point: the point.
        prepared: the sweep.
        to: an existing folder.

    Raises:
        CalibError: as `check_adapter_form`.
    """
    check_adapter_form(point, prepared)
    write_scaled_adapter(*adapter_factor(point.recipe), to)
    (to / "mergekit_config.yml").write_text(point.yaml, encoding="utf-8")
    if prepared.tokenizer.folder is not None:
        copy_tokenizer_files(prepared.tokenizer.folder, to)


def note_on_adapter(point: Point) -> str:
    """Return what the reader of the card must know: that the folder holds an adapter, of which base and how scaled."""
    adapter, factor = adapter_factor(point.recipe)
    return (
        f"This folder holds a LoRA adapter, not a merged model: {adapter.lora} with its change multiplied by "
        f"{factor:g}. peft and vLLM serve it beside {adapter.model}. The merged model was scored; the two are "
        "equal within rounding."
    )
