"""One live model, set in place to the weights of each point.

Relied on in transformers 5: `from_pretrained(None, config=…, state_dict=…)`, which applies the class's own
conversions from checkpoint names to parameters and keeps the storage of tensors that need none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.fast_linear import BLOCK, Blend

# Keys of a configuration that no forward pass depends on.
_INERT = {"_name_or_path", "architectures", "bos_token_id", "dtype", "eos_token_id", "pad_token_id"}
_INERT |= {"torch_dtype", "transformers_version", "use_cache"}


class WeightsError(CalibError):
    """The merged weights of a point cannot be used."""


class LiveModel:
    """A transformers model whose parameters are overwritten by each point's tensors.

    Tensors whose checkpoint name is one parameter are copied straight into it; where a class fuses or splits
    checkpoint tensors (mixtures of experts), a second model is assembled for the moment and copied from.

    Args:
        config: the configuration of every model that this one is set to.
        tensors: the first point's tensors, by checkpoint name.
        device: where the model lives.
        dtype: what it computes in; None for the dtype of the tensors.
    """

    def __init__(
        self,
        config: transformers.PretrainedConfig,
        tensors: Iterable[tuple[str, torch.Tensor | Blend]],
        *,
        device: torch.device,
        dtype: torch.dtype | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self._config = config
        self._class = model_class(config, trust_remote_code)
        # Cloned, because the model keeps this storage and the tensors may be the parents' own, or have strides.
        digest, state = Digest(), {}
        for name, given in tensors:
            tensor = given.value() if isinstance(given, Blend) else given
            digest.update(name, tensor)
            state[name] = tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        self.digest = digest.hexdigest()
        own_dtype = next((t.dtype for t in state.values() if t.is_floating_point()), torch.float32)
        probe = self._assemble(state, own_dtype)
        self._parameter_of = _direct_parameters(probe, state)
        compute_dtype = dtype or own_dtype
        # Buffers are computed at construction in the model's dtype, so a model for another dtype is constructed anew.
        model = probe if compute_dtype == own_dtype else self._assemble(state, compute_dtype)
        self._dtype = compute_dtype
        self.model: transformers.PreTrainedModel = model.eval().requires_grad_(False).to(device=device)

    def is_for(self, config: transformers.PretrainedConfig) -> bool:
        """Whether a model of `config` computes what this one does, given the same weights."""
        return active_configuration(config) == active_configuration(self._config)

    @torch.no_grad()
    def set(self, tensors: Iterable[tuple[str, torch.Tensor | Blend]]) -> str:
        """Overwrite the weights, and return their digest.

        Raises:
            WeightsError: a tensor holds NaN or infinity, or the set of tensors is not the one the model was built from.
        """
        digest, indirect = Digest(), {}
        parameters = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        seen = set()
        for name, given in tensors:
            seen.add(name)
            if name not in self._parameter_of:
                raise WeightsError(f"tensor {name} is not one that the live model was built from")
            target = self._parameter_of[name]
            if target and (isinstance(given, Blend) or given.device == parameters[target].device):
                flat = parameters[target].view(-1)
                for block, place in zip(digest.blocks_of(name, given, flat), flat.split(BLOCK), strict=True):
                    if block.data_ptr() != place.data_ptr():
                        place.copy_(block)
                continue
            tensor = given.value() if isinstance(given, Blend) else given
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
        """Copy the parameters that transformers assembles from several checkpoint tensors."""
        staged = self._assemble({n: t.detach().cpu() for n, t in tensors.items()}, self._dtype, partial=True)
        direct = {target for target in self._parameter_of.values() if target}
        targets = dict(self.model.named_parameters())
        for name, parameter in staged.named_parameters():
            if name not in direct:
                targets[name].copy_(parameter, non_blocking=True)

    def _assemble(
        self, state: dict[str, torch.Tensor], dtype: torch.dtype, partial: bool = False
    ) -> transformers.PreTrainedModel:
        with silence_transformers():  # its loading report lists every missing key; ours is below
            model, info = self._class.from_pretrained(
                None, config=self._config, state_dict=dict(state), dtype=dtype, output_loading_info=True
            )
        missing = sorted(info["missing_keys"])
        if missing and not partial:
            found = f"{len(missing)} parameters of {self._class.__name__}, among them {missing[0]}"
            raise WeightsError(f"the merge yields no weights for {found}")
        return model


class Digest:
    """A fingerprint of named tensors, cheap on any device: sums over the bits of every block, in the blocks' order.

    Meant to notice that two merges came out the same, not to withstand somebody who wants them to look so.
    """

    _COLUMNS = 128  # 64-bit words

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._shapes: dict[str, str] = {}

    def update(self, name: str, tensor: torch.Tensor) -> None:
        """Add a tensor.

        Raises:
            WeightsError: it holds NaN or infinity.
        """
        for _ in self.blocks_of(name, tensor):
            pass

    def blocks_of(
        self, name: str, tensor: torch.Tensor | Blend, into: torch.Tensor | None = None
    ) -> Iterator[torch.Tensor]:
        """Add a tensor block by block, and give each, flat, while the processor's cache holds it.

        Args:
            into: where a blend may be computed.

        Raises:
            WeightsError: it holds NaN or infinity; after the last block. Of a blend that is known beforehand.
        """
        self._shapes[name] = f"{tuple(tensor.shape)}{tensor.dtype}"
        if isinstance(tensor, Blend):
            for block in tensor.blocks(into):
                self._extend(name, block)
                yield block
            return
        flat, sums = tensor.detach().contiguous().reshape(-1), []
        for block in flat.split(BLOCK):
            self._extend(name, block)
            if block.is_floating_point():
                sums.append(block.sum(dtype=torch.float32))
            yield block
        # The sums are the cheap test; finite numbers may overflow them.
        if sums and not torch.isfinite(torch.stack(sums)).all() and not torch.isfinite(flat).all():
            raise WeightsError(f"tensor {name} holds NaN or infinity")

    def _extend(self, name: str, block: torch.Tensor) -> None:
        data = block.view(torch.uint8)
        a_row = 8 * self._COLUMNS
        if len(data) % a_row or data.data_ptr() % 8 or data.storage_offset() % 8:
            data = torch.nn.functional.pad(data, (0, -len(data) % a_row)).clone()
        sums = data.view(torch.int64).view(-1, self._COLUMNS).sum(0)
        so_far = self._sums.get(name)
        self._sums[name] = sums if so_far is None else so_far * 31 + sums  # wraps around

    def hexdigest(self) -> str:
        digest = hashlib.sha256()
        for name in sorted(self._shapes):
            sums = self._sums.get(name)
            digest.update(f"{name}:{self._shapes[name]}:".encode())
            digest.update(b"" if sums is None else sums.cpu().numpy().tobytes())
        return digest.hexdigest()[:32]


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Keep transformers' bars and warnings off the terminal."""
    verbosity, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()


def model_class(config: transformers.PretrainedConfig, trust_remote_code: bool) -> Any:
    """The class that lm-eval's `hf` model would load for this configuration."""
    encoder_decoder = getattr(config, "is_encoder_decoder", False)
    auto = transformers.AutoModelForSeq2SeqLM if encoder_decoder else transformers.AutoModelForCausalLM
    with torch.device("meta"):
        return type(auto.from_config(config, trust_remote_code=trust_remote_code))


def _direct_parameters(model: transformers.PreTrainedModel, state: dict[str, torch.Tensor]) -> dict[str, str | None]:
    """Checkpoint name → the parameter that is this tensor.

    "" where the model does without the tensor; None where it is converted. Found by storage: the model was assembled
    from `state` and keeps the storage of what it takes unchanged.
    """
    by_storage: dict[tuple[int, torch.Size], str] = {}
    for name, parameter in (*model.named_parameters(), *model.named_buffers()):
        by_storage.setdefault((parameter.data_ptr(), parameter.shape), name)
    result: dict[str, str | None] = {}
    own = model.state_dict()
    for name, tensor in state.items():
        target = by_storage.get((tensor.data_ptr(), tensor.shape))
        if target is None and name in own and own[name].data_ptr() in {s[0] for s in by_storage}:
            # A tied weight that the checkpoint also spells out: the model reads its twin.
            tied_to_another = own[name].data_ptr() in {t.data_ptr() for t in state.values()}
            target = "" if tied_to_another else None
        result[name] = target
    return result


def active_configuration(config: transformers.PretrainedConfig) -> dict[str, Any]:
    """What of a configuration a forward pass depends on."""

    def strip(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: strip(v) for k, v in node.items() if k not in _INERT}
        return node

    return strip(config.to_dict())
