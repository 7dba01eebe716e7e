"""The output head of a model, applied to hidden states of many steps, one block of the vocabulary at a time.

The head's weights have a row for every token of the vocabulary: reading them from memory costs as much for one hidden
state as for a hundred, so hidden states are collected first. The logits of all tokens may take more memory than the
model, so no tensor here is as wide as the vocabulary; the sum of exponentials is carried from block to block (online
softmax, Milakov and Gimelshein 2018).

It relies on transformers 5: `forward` of a causal model turns the output of its `base_model`, or of the decoder in it,
into logits through the module that `get_output_embeddings` returns, and whatever it then does to the logits (scaling,
capping) it does to each of them separately.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
import transformers

from mergekit_calib.prefix_lm.batch_limits import BatchLimits
from mergekit_calib.prefix_lm.onednn_products import Product

_UNDIVIDED_BYTES = 256 * 2**20  # of logits, in float32, if the vocabulary cannot be divided into blocks


class OutputHead:
    """The output head and the log-softmax of a model.

    Args:
        model: a causal model.
        softmax_dtype: dtype that logits and log-probabilities are rounded to; sums are in float32 or wider.
        inference_context: returns the context within which the model is run (inference mode, autocast).
        limits: how many hidden states one call takes, and how large a block of logits is.
        product: computes products with the weights faster than torch does by itself; None to leave it to torch.

    Attributes:
        device: the device that it computes on, which is not that of the last layer if a model is spread over several.
        output_type: the type of the output of the model's `base_model`; set it before the first call.
    """

    def __init__(
        self,
        model: transformers.PreTrainedModel,
        softmax_dtype: torch.dtype,
        inference_context: Callable[[], AbstractContextManager[Any]],
        limits: BatchLimits,
        product: Product | None = None,
    ) -> None:
        self._model, self._softmax_dtype, self._limits, self._product = model, softmax_dtype, limits, product
        self._inference_context = inference_context
        self.output_type: type[Any] | None = None
        embeddings: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        # A module other than a plain linear layer may do more than multiply, so it computes all logits at once.
        self.device: torch.device = embeddings.weight.device if hasattr(embeddings, "weight") else model.device
        self._linear = embeddings if type(embeddings) is torch.nn.Linear and "forward" not in vars(embeddings) else None

    @property
    def max_rows(self) -> int:
        """The most hidden states to pass in one call."""
        if self._linear is not None:
            return self._limits.head_rows
        logits_bytes = 4 * int(self._model.config.get_text_config(decoder=True).vocab_size)
        return max(1, min(self._limits.head_rows, _UNDIVIDED_BYTES // logits_bytes))

    def __call__(
        self, hidden: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the log-probability of each token at its hidden state.

        Args:
            hidden: (m, hidden size), on any device.
            rows: (k,) the row of `hidden` that predicts each token, on the head's device.
            tokens: (k,) token ids, on the head's device.

        Returns:
            (k,) log-probabilities in nats, and (k,) whether each token is the likeliest one there; of equally likely
            tokens, the one with the lowest id.
        """
        hidden = hidden.to(self.device)
        wide = torch.promote_types(self._softmax_dtype, torch.float32)
        best = torch.full((len(hidden),), torch.finfo(wide).min, dtype=wide, device=hidden.device)
        likeliest = torch.zeros(len(hidden), dtype=torch.int64, device=hidden.device)
        total = torch.zeros_like(best)
        token_logits = torch.zeros(len(tokens), dtype=wide, device=hidden.device)
        with self._inference_context():
            for start, logits in self._blocks(hidden):
                logits = logits.to(self._softmax_dtype).to(wide)
                top, top_column = logits.max(dim=-1)
                likeliest = torch.where(top > best, top_column + start, likeliest)
                higher = torch.maximum(best, top)
                total = total * (best - higher).exp() + (logits - higher[:, None]).exp_().sum(dim=-1)
                best = higher
                column = tokens - start
                inside = (column >= 0) & (column < logits.shape[1])
                token_logits = torch.where(inside, logits[rows, column.clamp(0, logits.shape[1] - 1)], token_logits)
            log_probabilities = token_logits - (best + total.log())[rows]
            return log_probabilities.to(self._softmax_dtype), likeliest[rows] == tokens

    def _blocks(self, hidden: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield blocks of logits, (m, block size), each with the id of its first token."""
        if self._linear is None:
            yield 0, self._logits(hidden)
            return
        weight, bias = self._linear.weight, self._linear.bias
        size = max(1, self._limits.block_bytes // (4 * len(hidden)))
        for start in range(0, len(weight), size):
            block = slice(start, start + size)

            def apply(x: torch.Tensor, block: slice = block) -> torch.Tensor:
                if self._product is not None and x.dtype == weight.dtype == torch.float32:
                    return self._product(x, weight[block], None if bias is None else bias[block])
                # Weights first: a CPU multiplies many rows by few columns faster than the other way round.
                product = torch.matmul(weight[block], x.transpose(-1, -2)).transpose(-1, -2)
                return product if bias is None else product + bias[block]

            with forward_replaced(self._linear, apply):
                yield start, self._logits(hidden)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits that the model's own `forward` computes, with its body replaced by the hidden states."""
        assert self.output_type is not None
        outputs = self.output_type(last_hidden_state=hidden[None])
        base: Any = self._model.base_model
        with ExitStack() as replaced:
            for body in {base, base.get_decoder()}:
                replaced.enter_context(forward_replaced(body, lambda *_, **__: outputs))
            unused = torch.zeros((1, 1), dtype=torch.int64, device=hidden.device)
            logits: torch.Tensor = self._model(input_ids=unused, use_cache=False).logits[0]
        return logits


@contextmanager
def forward_replaced(module: torch.nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Replace `module.forward` within the `with` block."""
    own = vars(module).get("forward")  # set on the instance if something already wraps the class's method
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own
