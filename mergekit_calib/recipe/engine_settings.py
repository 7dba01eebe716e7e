"""The `engine:` part of the block: what scores choices, and what generates."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from mergekit_calib.errors import near_names, shown
from mergekit_calib.recipe.suite_entry import Strict

_ENGINES = ("transformers", "vllm")


class VllmSettings(Strict):
    """Arguments of vLLM, under the names that lm-eval's `vllm` model has for them.

    Attributes:
        tensor_parallel_size: how many devices (processes on a CPU) share the model.
        gpu_memory_utilization: the share of each GPU's memory that vLLM takes; None for 0.9 of a GPU that it has for
            itself, and what the model that scores choices leaves of one that they share.
        max_model_len: the most tokens of a prompt and its answer; None for the model's maximum, or what fits in memory.
        max_num_seqs: how many sequences are generated together at most; None for vLLM's own default.
        enforce_eager: whether to run without compilation: a quicker start, slower generation.
    """

    tensor_parallel_size: int = Field(default=1, ge=1)
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    max_model_len: int | None = Field(default=None, ge=2)
    max_num_seqs: int | None = Field(default=None, ge=1)
    enforce_eager: bool = False


class EngineSettings(Strict):
    """What scores and generates: transformers, unless `generation` says otherwise.

    Read from `transformers`, `vllm`, `{name: vllm, …}`, `{generation: vllm}` or `{generation: {name: vllm, …}}`.

    Attributes:
        generation: vLLM's arguments, if it generates; None if transformers does.
        only_generates: whether nothing scores choices: vLLM alone, for suites that only generate.
    """

    generation: VllmSettings | None = None
    only_generates: bool = False

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        if isinstance(given, str) or (isinstance(given, dict) and "name" in given):
            settings = _named(given)
            return {"generation": settings, "only_generates": settings is not None}
        if not isinstance(given, dict):
            raise ValueError(f"expected {_choice()}, or {{generation: vllm}}")
        if "only_generates" in given:
            raise ValueError("`only_generates` is not a key here; write `engine: vllm` for vLLM alone")
        return given

    @field_validator("generation", mode="before")
    @classmethod
    def _generation_by_name(cls, given: Any) -> Any:
        return _named(given) if isinstance(given, str | dict) else given


def _named(given: str | dict[str, Any]) -> dict[str, Any] | None:
    """Return the arguments of the engine that `given` names; None for transformers, which has none here.

    Raises:
        ValueError: there is no such engine, or transformers is given arguments.
    """
    name, arguments = (given, {}) if isinstance(given, str) else (given.get("name", "vllm"), dict(given))
    arguments.pop("name", None)
    if name not in _ENGINES:
        raise ValueError(f"no engine {shown(name)}{near_names(str(name), _ENGINES)}; there are {', '.join(_ENGINES)}")
    if name == "vllm":
        return arguments
    if arguments:
        raise ValueError("transformers takes its arguments from `model_args`; give it only its name here")
    return None


def _choice() -> str:
    return " or ".join(_ENGINES)
