"""Digests of a model's weights, which tell whether two merges gave the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import transformers
from mergekit.io.lazy_tensor_loader import LazyTensorLoader

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.fast_linear import BLOCK, WeightedSum


class WeightsError(CalibError):
    """The merged weights of a point hold NaN or infinity, or are not those of the live model's class."""


class Digest:
    """A hash of named tensors that is fast on any device: the bits of each block, summed as 64-bit integers.

    It does not protect against deliberate collisions.
    """

    _COLUMNS = 128  # 64-bit words

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._shapes: dict[str, str] = {}

    def update(self, name: str, tensor: torch.Tensor) -> None:
        """Add a tensor.

        Args:
            name: the tensor's name.
            tensor: its values.

        Raises:
            WeightsError: it holds NaN or infinity.
        """
        for _ in self.blocks_of(name, tensor):
            pass

    def blocks_of(
        self, name: str, tensor: torch.Tensor | WeightedSum, into: torch.Tensor | None = None
    ) -> Iterator[torch.Tensor]:
        """Add a tensor, and yield its blocks, flat, while they are in the processor's cache.

        Args:
            name: the tensor's name.
            tensor: its values; a weighted sum is computed block by block. It must be finite, which is not checked here.
            into: a flat tensor to compute a weighted sum in.

        Raises:
            WeightsError: a tensor that is no weighted sum holds NaN or infinity; raised after the last block.
        """
        self._shapes[name] = f"{tuple(tensor.shape)}{tensor.dtype}"
        if isinstance(tensor, WeightedSum):
            for block in tensor.blocks(into):
                self._add_block(name, block)
                yield block
            return
        flat, sums = tensor.detach().contiguous().reshape(-1), []
        for block in torch.split(flat, BLOCK):
            self._add_block(name, block)
            if block.is_floating_point():
                sums.append(block.sum(dtype=torch.float32))
            yield block
        # The sums are a cheap test. Finite numbers can overflow them, so a failure is checked on the tensor itself.
        if sums and not torch.isfinite(torch.stack(sums)).all() and not torch.isfinite(flat).all():
            raise WeightsError(f"tensor {name} holds NaN or infinity")

    def _add_block(self, name: str, block: torch.Tensor) -> None:
        data = block.view(torch.uint8)
        row_bytes = 8 * self._COLUMNS
        if len(data) % row_bytes or data.data_ptr() % 8 or data.storage_offset() % 8:
            data = torch.nn.functional.pad(data, (0, -len(data) % row_bytes)).clone()
        sums = data.view(torch.int64).view(-1, self._COLUMNS).sum(0)
        so_far = self._sums.get(name)
        self._sums[name] = sums if so_far is None else so_far * 31 + sums  # wraps around

    def hexdigest(self) -> str:
        """Return the digest of the tensors so far; it does not depend on their order."""
        digest = hashlib.sha256()
        for name in sorted(self._shapes):
            sums = self._sums.get(name)
            digest.update(f"{name}:{self._shapes[name]}:".encode())
            digest.update(b"" if sums is None else sums.cpu().numpy().tobytes())
        return digest.hexdigest()[:32]


def digest_of(folder: Path, vocabulary_axes: Mapping[str, int] | None = None, trust_remote_code: bool = False) -> str:
    """Return the digest of a written model's tensors, comparable with `ReadyModel.digest`.

    Args:
        folder: the model's folder.
        vocabulary_axes: tensor → its axis along the vocabulary. These tensors are first sorted by token, because
            mergekit numbers the tokens that a union of vocabularies adds differently each time.
        trust_remote_code: whether the folder's tokenizer, which tells the numbers of tokens, may run its own code.
    """
    digest = Digest()
    # Lazy unpickling cannot read the pickle files that mergekit writes.
    loader = LazyTensorLoader.from_disk(str(folder), lazy_unpickle=False)
    axes = vocabulary_axes or {}
    order = _ids_by_token(folder, trust_remote_code) if axes else torch.arange(0)
    for shard in loader.index.shards:
        for name in shard.contained_keys:
            tensor = loader.get_tensor(name)
            digest.update(name, tensor.index_select(axes[name], order) if name in axes else tensor)
    return digest.hexdigest()


def _ids_by_token(folder: Path, trust_remote_code: bool) -> torch.Tensor:
    """Return the ids of a tokenizer's tokens, in the alphabetical order of the tokens."""
    vocabulary = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code).get_vocab()
    return torch.tensor([vocabulary[token] for token in sorted(vocabulary)])
