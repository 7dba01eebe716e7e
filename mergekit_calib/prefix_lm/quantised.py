"""`QuantisedLM`: `hf-prefix` that quantises the model while it is loaded.

lm-eval 0.4.13 passes `load_in_4bit` on to transformers, which takes only a quantisation config since version 5; and
it takes no `quantization_config` among its arguments.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from transformers import BitsAndBytesConfig
from transformers.quantizers.auto import AutoQuantizationConfig

from mergekit_calib.errors import CalibError, closest
from mergekit_calib.prefix_lm.model import PrefixLM

_OF_BITSANDBYTES = ("load_in_4bit", "load_in_8bit")
_MISSPELT = 0.85  # `closest` takes names that are this much alike
_NAMES = (*_OF_BITSANDBYTES, "quantization_config")


class QuantisedLM(PrefixLM):
    """`hf-prefix` with arguments that quantise: those of bitsandbytes, or a `quantization_config`.

    Args:
        pretrained: a model's name or folder.
        quantization_config: as in a model's config.json; None for none.
        **arguments: other arguments of `hf-prefix`, and those of `transformers.BitsAndBytesConfig`.

    Raises:
        CalibError: both forms are given, or a config that transformers does not know.
    """

    def __init__(
        self, pretrained: str, *, quantization_config: Mapping[str, Any] | None = None, **arguments: Any
    ) -> None:
        own = {name: arguments.pop(name) for name in list(arguments) if _is_of_bitsandbytes(name)}
        self._quantisation = quantisation(own, quantization_config)
        super().__init__(pretrained, **arguments)

    def _create_model(self, *args: Any, **kwargs: Any) -> None:
        if self._quantisation is not None:
            kwargs["quantization_config"] = self._quantisation
        super()._create_model(*args, **kwargs)


def quantisation(of_bitsandbytes: Mapping[str, Any], config: Mapping[str, Any] | None) -> Any:
    """Return a quantisation config of transformers; None if nothing is to be quantised.

    Args:
        of_bitsandbytes: arguments of `transformers.BitsAndBytesConfig`.
        config: a quantisation config, as in config.json.

    Raises:
        CalibError: both are given, or transformers cannot use what is given.
    """
    if config is not None and of_bitsandbytes:
        raise CalibError(f"model_args: give either quantization_config or {', '.join(of_bitsandbytes)}")
    try:
        if config is not None:
            return AutoQuantizationConfig.from_dict(dict(config))
        if any(of_bitsandbytes.get(name) for name in _OF_BITSANDBYTES):
            return BitsAndBytesConfig(**of_bitsandbytes)  # type: ignore[no-untyped-call]
    except Exception as problem:  # transformers raises many kinds
        raise CalibError(f"model_args: transformers cannot quantise so: {str(problem).splitlines()[0]}") from problem
    return None


def check_quantisation(model_args: Mapping[str, Any]) -> None:
    """Raise an error if a model cannot be quantised here as the arguments say.

    Args:
        model_args: arguments of lm-eval's `hf`.

    Raises:
        CalibError: a name is misspelt, bitsandbytes is needed and missing, or as `quantisation`.
    """
    for name in (name for name in model_args if not is_of_quantisation(name)):
        if near := closest(name, _NAMES, _MISSPELT):
            raise CalibError(f"model_args: {name} is not an argument of lm-eval's `hf` (did you mean {near[0]}?)")
    given = {name: value for name, value in model_args.items() if _is_of_bitsandbytes(name)}
    wanted = [name for name in _OF_BITSANDBYTES if given.get(name)]
    config = model_args.get("quantization_config")
    if config is not None and not isinstance(config, Mapping):
        raise CalibError(f"model_args: quantization_config is {config!r}, and has to be a mapping, as in config.json")
    if config is not None:
        quantisation(given, config)
    if wanted and importlib.util.find_spec("bitsandbytes") is None:
        raise CalibError(
            f"model_args: {wanted[0]} needs bitsandbytes, which is not installed (pip install bitsandbytes)"
        )
    quantisation(given, config)


def is_of_quantisation(name: str) -> bool:
    """Return whether an argument of `hf` says how a model is quantised while it is loaded."""
    return name == "quantization_config" or _is_of_bitsandbytes(name)


def _is_of_bitsandbytes(name: str) -> bool:
    return name in _OF_BITSANDBYTES or name.startswith(("bnb_4bit_", "llm_int8_"))
