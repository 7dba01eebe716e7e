"""One live model, set in place to the weights of each point.

Relies on transformers 5 for `from_pretrained(None, config=…, state_dict=…)`, which applies the class's own conversions
from checkpoint names to parameters, and keeps the storage of tensors that need no conversion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers

from mergekit_calib.merging.device_map import DeviceMap
from mergekit_calib.merging.fast_linear import BLOCK, WeightedSum
from mergekit_calib.merging.merge_configuration import active_configuration
from mergekit_calib.merging.weights_digest import Digest, WeightsError


class LiveModel:
    """A transformers model whose parameters are overwritten with each point's tensors.

    A checkpoint tensor that is one parameter of the model is copied into it. If the class fuses or splits checkpoint
    tensors (mixtures of experts), a second model is assembled for a moment, and its parameters are copied.

    Args:
        config: the configuration of every model that this one is set to.
        tensors: the first point's tensors, by checkpoint name.
        device: the device that the model is on.
        device_map: spreads the model over several devices, instead of `device`; None to do so with none.
        dtype: the dtype that it computes in; None for the dtype of the tensors.
        trust_remote_code: whether code that comes with the model may run.

    Attributes:
        model: the model, in evaluation mode.
        digest: the digest of its weights.
    """

    def __init__(
        self,
        config: transformers.PretrainedConfig,
        tensors: Iterable[tuple[str, torch.Tensor | WeightedSum]],
        *,
        device: torch.device,
        device_map: DeviceMap | None = None,
        dtype: torch.dtype | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self._config = config
        self._class = model_class(config, trust_remote_code)
        # Copied, because the model keeps this storage, and the tensors may be the parents' own or not contiguous.
        digest, state = Digest(), {}
        for name, given in tensors:
            tensor = given.value() if isinstance(given, WeightedSum) else given
            digest.update(name, tensor)
            state[name] = tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        self.digest = digest.hexdigest()
        own_dtype = next((t.dtype for t in state.values() if t.is_floating_point()), torch.float32)
        probe = self._assemble(state, own_dtype)
        self._parameter_of = _direct_parameters(probe, state)
        compute_dtype = dtype or own_dtype
        # A model computes its buffers in its own dtype when it is made, so another dtype needs another model.
        model = probe if compute_dtype == own_dtype else self._assemble(state, compute_dtype)
        self._dtype = compute_dtype
        model = model.train(False).requires_grad_(False)
        self.model: transformers.PreTrainedModel = device_map.place(model) if device_map else model.to(device=device)

    def is_for(self, config: transformers.PretrainedConfig) -> bool:
        """Return whether this model can be set to the weights of a model with `config`, and then computes the same."""
        return active_configuration(config) == active_configuration(self._config)

    @torch.no_grad()
    def set(self, tensors: Iterable[tuple[str, torch.Tensor | WeightedSum]]) -> str:
        """Overwrite the weights, and return their digest.

        Args:
            tensors: the point's tensors, by checkpoint name.

        Raises:
            WeightsError: a tensor holds NaN or infinity, or the names are not those of the first point's tensors.
        """
        digest, indirect = Digest(), {}
        parameters = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        seen = set()
        for name, given in tensors:
            seen.add(name)
            if name not in self._parameter_of:
                raise WeightsError(f"tensor {name} is not one that the live model was built from")
            target = self._parameter_of[name]
            if target and (isinstance(given, WeightedSum) or given.device == parameters[target].device):
                flat = parameters[target].view(-1)
                for block, place in zip(digest.blocks_of(name, given, flat), torch.split(flat, BLOCK), strict=True):
                    if block.data_ptr() != place.data_ptr():
                        place.copy_(block)
                continue
            tensor = given.value() if isinstance(given, WeightedSum) else given
            digest.update(name, tensor)
            if target is None:
                indirect[name] = tensor
            elif target:
                parameters[target].copy_(tensor, non_blocking=True)
        if missing := set(self._parameter_of) - seen:
            raise WeightsError(f"the point has no tensor {sorted(missing)[0]}, which other points have")
        if indirect:
            self._set_converted(indirect)
        self.digest = digest.hexdigest()
        return self.digest

    def _set_converted(self, tensors: dict[str, torch.Tensor]) -> None:
        """Set the parameters that transformers assembles from several checkpoint tensors."""
        staged = self._assemble({n: t.detach().cpu() for n, t in tensors.items()}, self._dtype, partial=True)
        direct = {target for target in self._parameter_of.values() if target}
        targets = dict(self.model.named_parameters())
        for name, parameter in staged.named_parameters():
            if name not in direct:
                targets[name].copy_(parameter, non_blocking=True)

    def _assemble(
        self, state: dict[str, torch.Tensor], dtype: torch.dtype, partial: bool = False
    ) -> transformers.PreTrainedModel:
        """Return a new model with the checkpoint tensors in `state`; `partial` if they need not be all."""
        model: transformers.PreTrainedModel
        with silence_transformers():  # Its report lists every missing key; our message is below.
            model, info = self._class.from_pretrained(
                None, config=self._config, state_dict=dict(state), dtype=dtype, output_loading_info=True
            )
        missing = sorted(info["missing_keys"])
        if missing and not partial:
            parameters = f"{len(missing)} parameters of {self._class.__name__}, among them {missing[0]}"
            raise WeightsError(f"the merge gives no weights for {parameters}")
        return model


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Turn transformers' progress bars and warnings off within the context."""
    verbosity, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def model_class(config: transformers.PretrainedConfig, trust_remote_code: bool) -> Any:
    """Return the class that lm-eval's `hf` model would load for a configuration.

    Args:
        config: the configuration.
        trust_remote_code: whether code that comes with the model may run.
    """
    return type(empty_model(config, trust_remote_code))


def empty_model(config: transformers.PretrainedConfig, trust_remote_code: bool) -> transformers.PreTrainedModel:
    """Return a model that has the shapes of a configuration, and no numbers, so that it takes no memory.

    Args:
        config: the configuration.
        trust_remote_code: whether code that comes with the model may run.
    """
    encoder_decoder = getattr(config, "is_encoder_decoder", False)
    auto: Any = transformers.AutoModelForSeq2SeqLM if encoder_decoder else transformers.AutoModelForCausalLM
    with torch.device("meta"):
        model: transformers.PreTrainedModel = auto.from_config(config, trust_remote_code=trust_remote_code)
    return model


def _direct_parameters(model: transformers.PreTrainedModel, state: dict[str, torch.Tensor]) -> dict[str, str | None]:
    """Return checkpoint name → the name of the parameter that is this tensor.

    It is "" if the model does not use the tensor, and None if the tensor is converted. Parameters are found
    by storage: the model was assembled from `state` and keeps the storage of every tensor that it does not convert.
    """
    by_storage: dict[tuple[int, torch.Size], str] = {}
    for name, parameter in (*model.named_parameters(), *model.named_buffers()):
        by_storage.setdefault((parameter.data_ptr(), parameter.shape), name)
    result: dict[str, str | None] = {}
    own = model.state_dict()
    for name, tensor in state.items():
        target = by_storage.get((tensor.data_ptr(), tensor.shape))
        if target is None and name in own and own[name].data_ptr() in {s[0] for s in by_storage}:
            # A tied weight that the checkpoint stores twice; the model reads the other copy.
            tied_to_another = own[name].data_ptr() in {t.data_ptr() for t in state.values()}
            target = "" if tied_to_another else None
        result[name] = target
    return result
