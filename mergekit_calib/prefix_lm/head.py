"""A model's output head over hidden states of many steps, a block of the vocabulary at a time.

A head has a row for every token of the vocabulary: fetching it costs as much for one hidden state as for a hundred, and
its logits may be larger than the model. Here no tensor is as wide as the vocabulary; the sum of exponentials is kept
from block to block (online softmax, Milakov and Gimelshein 2018).

Relied on in transformers 5: a model's `forward` takes what its `base_model`, or the decoder in it, gives to logits,
through the module that `get_output_embeddings` gives; what it then does to them (scaling, capping) it does to each by
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
import transformers

from mergekit_calib.prefix_lm.batch_limits import Sizes

_WHOLE_BYTES = 256 * 2**20  # of logits, in float32, where they cannot come in blocks


class Head:
    """The head of a model.

    Args:
        softmax_dtype: that logits and log-probabilities are rounded to; sums are taken in float32 at least.
        computing: within which the model is run.
        sizes: of a block.

    Attributes:
        output_type: of what the model's `base_model` gives.
    """

    def __init__(
        self,
        model: transformers.PreTrainedModel,
        softmax_dtype: torch.dtype,
        computing: Callable[[], AbstractContextManager[Any]],
        sizes: Sizes,
    ) -> None:
        self._model, self._softmax_dtype, self._computing, self._sizes = model, softmax_dtype, computing, sizes
        self.output_type: type[Any] | None = None
        embeddings = model.get_output_embeddings()
        # Anything else than a plain layer may do more than multiply: it is then asked for the whole vocabulary.
        self._linear = embeddings if type(embeddings) is torch.nn.Linear and "forward" not in vars(embeddings) else None

    @property
    def rows(self) -> int:
        """How many hidden states it should be given at once."""
        if self._linear is not None:
            return self._sizes.head_rows
        logits_of_one = 4 * self._model.config.get_text_config(decoder=True).vocab_size
        return max(1, min(self._sizes.head_rows, _WHOLE_BYTES // logits_of_one))

    def __call__(
        self, hidden: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(k,) the log-probabilities of `tokens` after the hidden states of those `rows`, and whether each is the
        likeliest token there.

        Args:
            hidden: (m, hidden size).
            rows, tokens: (k,)
        """
        exact = torch.promote_types(self._softmax_dtype, torch.float32)
        best = torch.full((len(hidden),), torch.finfo(exact).min, dtype=exact, device=hidden.device)
        likeliest = torch.zeros(len(hidden), dtype=torch.int64, device=hidden.device)
        total = torch.zeros_like(best)
        asked = torch.zeros(len(tokens), dtype=exact, device=hidden.device)
        with self._computing():
            for start, logits in self._blocks(hidden):
                logits = logits.to(self._softmax_dtype).to(exact)
                top, at = logits.max(dim=-1)
                likeliest = torch.where(top > best, at + start, likeliest)
                higher = torch.maximum(best, top)
                total = total * (best - higher).exp() + (logits - higher[:, None]).exp_().sum(dim=-1)
                best = higher
                place = tokens - start
                inside = (place >= 0) & (place < logits.shape[1])
                asked = torch.where(inside, logits[rows, place.clamp(0, logits.shape[1] - 1)], asked)
            log_probabilities = asked - (best + total.log())[rows]
            return log_probabilities.to(self._softmax_dtype), likeliest[rows] == tokens

    def _blocks(self, hidden: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """The number of a block's first token, and its logits, (m, tokens)."""
        if self._linear is None:
            yield 0, self._logits(hidden)
            return
        weight, bias = self._linear.weight, self._linear.bias
        size = max(1, self._sizes.block_bytes // (4 * len(hidden)))
        for start in range(0, len(weight), size):
            some = slice(start, start + size)

            def apply(x: torch.Tensor, some: slice = some) -> torch.Tensor:
                # Weights first: a processor multiplies many rows by few columns faster than the other way round.
                product = torch.matmul(weight[some], x.transpose(-1, -2)).transpose(-1, -2)
                return product if bias is None else product + bias[some]

            with forward_replaced(self._linear, apply):
                yield start, self._logits(hidden)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        assert self.output_type is not None
        outputs = self.output_type(last_hidden_state=hidden[None])
        base: Any = self._model.base_model
        with ExitStack() as replaced:
            for body in {base, base.get_decoder()}:
                replaced.enter_context(forward_replaced(body, lambda *_, **__: outputs))
            nothing = torch.zeros((1, 1), dtype=torch.int64, device=hidden.device)
            logits: torch.Tensor = self._model(input_ids=nothing, use_cache=False).logits[0]
        return logits


@contextmanager
def forward_replaced(module: torch.nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """While it lasts, `module` does this instead."""
    own = vars(module).get("forward")  # where something has been put around the class's method already
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own
