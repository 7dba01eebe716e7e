"""Checks of models' configs against their tensors' shapes, by models that transformers makes without memory.

transformers would find the same when it fills the first live model, and say it again at each point.
Relies on transformers 5: a model made on the device `meta` has shapes and tied weights, and no numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import transformers

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.json_files import reason_of
from mergekit_calib.merging.live_model import empty_model, silence_transformers
from mergekit_calib.merging.merge_configuration import active_configuration
from mergekit_calib.merging.parents import ParentModel


def check_shapes_of_config(models: Iterable[ParentModel], trust_remote_code: bool) -> None:
    """Check that each model's tensors have the shapes that its config says.

    Tensors whose names in the files are not those of transformers are not checked.

    Args:
        models: the models. Those in pickle format are only checked for a config that transformers can use.
        trust_remote_code: whether code that comes with a model may run.

    Raises:
        CalibError: transformers makes no model of a config, a tensor has another shape, or there is no output head.
    """
    made: list[tuple[object, transformers.PreTrainedModel]] = []
    for model in models:
        settings = active_configuration(model.config)
        empty = next((empty for other, empty in made if other == settings), None)
        if empty is None:
            try:
                with silence_transformers():
                    empty = empty_model(model.config, trust_remote_code)
            except Exception as problem:  # a config may hold anything
                reason = f"{type(problem).__name__}: {reason_of(problem)}"
                file = model.folder / "config.json"
                raise CalibError(f"{file}: transformers makes no model of it ({reason}); fetch it again") from problem
            made.append((settings, empty))
        _compare(model, empty)


def _compare(model: ParentModel, empty: transformers.PreTrainedModel) -> None:
    """Compare a model's tensors with those of its empty twin."""
    expected = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    file = model.folder / "config.json"
    for name, shape in expected.items():
        if model.shapes.get(name, shape) != shape:
            sizes = f"{list(model.shapes[name])} in the weights, and {list(shape)} by this config"
            raise CalibError(f"{file}: tensor {name} is {sizes}; one of the two is another model's: fetch it again")
    head: Any = empty.get_output_embeddings()  # type: ignore[no-untyped-call]
    embeddings: Any = empty.get_input_embeddings()
    if head is None or head.weight is embeddings.weight or not model.shapes:
        return
    missing = expected.keys() - model.shapes.keys()
    (name,) = [name for name, parameter in empty.named_parameters() if parameter is head.weight] or [""]
    if missing == {name}:
        problem = f"tie_word_embeddings is false, but the weights have no {name}"
        raise CalibError(f"{file}: {problem}; if the model reads its embeddings there, set it to true")
