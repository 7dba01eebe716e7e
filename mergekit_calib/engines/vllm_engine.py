"""The engine whose texts vLLM generates: alone, or beside a transformers engine that scores choices."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from mergekit.options import MergeOptions

from mergekit_calib.engines.blend_stream import BlendOptions
from mergekit_calib.engines.engine import ReadyPoint
from mergekit_calib.engines.next_tokens import N_COMPARED, NextTokens, next_tokens
from mergekit_calib.engines.sampling import check_generation_config
from mergekit_calib.engines.transformers_engine import TransformersEngine
from mergekit_calib.engines.vllm_internals import RunningVllm, vllm_version
from mergekit_calib.engines.vllm_lm import TwoPhaseLM, VllmLM
from mergekit_calib.errors import CalibError
from mergekit_calib.merging.live_model import empty_model
from mergekit_calib.merging.models import PointModels, ReadyModel
from mergekit_calib.prefix_lm.model import PrefixLM
from mergekit_calib.recipe import Point
from mergekit_calib.recipe.engine_settings import VllmSettings

_PARENTS_COMPARED = 2  # so that the second swap, from one parent to another, is compared too


@dataclass(frozen=True)
class VllmPlace:
    """Where vLLM runs.

    Attributes:
        device: the device that models are scored on.
        gpu_memory_utilization: the share of each GPU's memory that it takes; not used on a CPU.
        scratch: a folder for the config and tokenizer that it starts from.
    """

    device: torch.device
    gpu_memory_utilization: float
    scratch: Path


class VllmEngine:
    """Generates with vLLM, and scores with another engine if there is one.

    vLLM is started once, from the points' config, without weights. Each point's weights are computed in each of its
    processes, and overwrite those before in place. At the start, the weights of two parents are set, and the
    log-probabilities of next tokens compared with those of transformers.

    Args:
        models: makes the points' models.
        scoring: scores choices; None if nothing does. It has `models`, too.
        parents: the parents; the first two are compared.
        settings: vLLM's arguments.
        place: where it runs.
        merge_options: mergekit's options.
        keeps_vocabulary: whether the points' tokenizer changes no weights.
        keep_parents: whether the parents' tensors stay in memory.
        model_args: arguments of lm-eval's `hf`.
        mend_tied_heads: see `RunningVllm`.
    """

    def __init__(
        self,
        models: PointModels,
        scoring: TransformersEngine | None,
        parents: Sequence[Point],
        settings: VllmSettings,
        place: VllmPlace,
        *,
        merge_options: MergeOptions,
        keeps_vocabulary: bool = True,
        keep_parents: bool = True,
        model_args: Mapping[str, Any] | None = None,
        mend_tied_heads: bool = True,
    ) -> None:
        self._models, self._scoring, self._parents = models, scoring, list(parents)
        self._settings, self._place = settings, place
        self._trust_remote_code = merge_options.trust_remote_code
        self._blend_options = BlendOptions(
            merge_options=merge_options.model_dump(mode="json"),
            keeps_vocabulary=keeps_vocabulary,
            keep_parents=keep_parents,
        )
        self._model_args = dict(model_args or {})
        self._mend_tied_heads = mend_tied_heads
        self._running: RunningVllm | None = None
        self._skeleton: transformers.PreTrainedModel | None = None

    @contextmanager
    def at(self, point: Point) -> Iterator[ReadyPoint]:
        """Make the model of a point for the `with` block; the next point's model overwrites it.

        Args:
            point: the point.

        Raises:
            CalibError: vLLM does not start, or computes other log-probabilities than transformers; mergekit cannot plan
                the recipe; its weights hold NaN or infinity.
        """
        check_in_place(self._models, point)
        vllm = self._running or self._start()  # before the scoring model is set: it sets that to the parents
        with ExitStack() as stack:
            scored = stack.enter_context(self._scoring.at(point)) if self._scoring else None
            digest = vllm.set_weights(point.recipe)
            if scored is not None and scored.digest != digest:
                raise CalibError(
                    f"vLLM has other weights for {point.id} than transformers (digests {digest} and {scored.digest}); "
                    "this is a defect of mergekit-calib, please report it with the recipe"
                )
            tokenizer = self._models.tokenizer_of(point)
            assert self._skeleton is not None
            generator = VllmLM(self._skeleton, tokenizer, vllm, vllm.max_length, self._model_args)
            if scored is None:
                yield ReadyPoint(generator, digest)
            else:
                assert isinstance(scored.lm, PrefixLM)
                yield ReadyPoint(TwoPhaseLM(scored.lm, generator), digest)

    def discard(self) -> None:
        """Free the models of both engines; vLLM's processes end."""
        if self._running is not None:
            self._running.stop()
            self._running = None
        self._models.discard()

    def _start(self) -> RunningVllm:
        """Start vLLM, and compare it with transformers on the first parents."""
        compared = self._parents[:_PARENTS_COMPARED]
        expected = []
        self._skeleton = None
        self._place.scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._place.scratch, prefix="vllm-"))
        for parent in compared:
            check_in_place(self._models, parent)
            with self._models.at(parent) as ready:
                if self._skeleton is None:
                    self._skeleton = self._written_skeleton(ready, folder)
                expected.append(next_tokens(ready.model, ready.tokenizer, self._settings.max_model_len))
                dtype = str(ready.model.dtype).removeprefix("torch.")
                del ready
        if self._scoring is None:
            self._models.discard()  # vLLM has the device for itself
        elif self._place.device.type == "cuda":
            torch.cuda.empty_cache()
        on_cpu = self._place.device.type == "cpu"
        arguments = {"dtype": dtype, "trust_remote_code": self._trust_remote_code}
        arguments |= self._settings.model_dump(exclude_none=True)
        arguments |= {} if on_cpu else {"gpu_memory_utilization": self._place.gpu_memory_utilization}
        vllm = RunningVllm(folder, arguments, self._blend_options, on_cpu=on_cpu, mend_tied_heads=self._mend_tied_heads)
        try:
            vllm.next_tokens(expected[0].prompts, N_COMPARED)  # so that a prefix cache that survives a swap shows
            for parent, reference in zip(compared, expected, strict=True):
                vllm.set_weights(parent.recipe)
                check_agreement(vllm, reference, parent.id)
        except BaseException:
            vllm.stop()
            raise
        self._running = vllm
        return vllm

    def _written_skeleton(self, ready: ReadyModel, folder: Path) -> transformers.PreTrainedModel:
        """Write a model's config and tokenizer into a folder, and return the model without its weights."""
        check_generation_config(ready.model.generation_config)
        config = copy.deepcopy(ready.model.config)
        config.architectures = [type(ready.model).__name__]
        config.save_pretrained(folder)
        ready.tokenizer.save_pretrained(folder)
        skeleton = empty_model(config, self._trust_remote_code)
        skeleton.generation_config = copy.deepcopy(ready.model.generation_config)
        return skeleton


def check_in_place(models: PointModels, point: Point) -> None:
    """Check that a point has the parents' layers and vocabulary.

    Args:
        models: makes the points' models.
        point: the point.

    Raises:
        CalibError: it has others.
    """
    if not models.only_weights_change(point):
        raise CalibError(
            f"{point.id} has other layers or another vocabulary than the parents, which vLLM cannot be given in place; "
            "generate with transformers (remove `engine`)"
        )


def check_agreement(vllm: RunningVllm, expected: NextTokens, name: str) -> None:
    """Check that vLLM computes the next tokens that transformers computes with the same weights.

    Args:
        vllm: the engine.
        expected: what transformers says.
        name: the point whose weights both have.

    Raises:
        CalibError: the mean difference is beyond `expected.tolerance`; the message has both.
    """
    difference = expected.difference(vllm.next_tokens(expected.prompts, N_COMPARED))
    if difference > expected.tolerance or difference != difference:
        dtype = str(expected.dtype).removeprefix("torch.")
        raise CalibError(
            f"with the weights of {name}, the log-probabilities of vLLM ({vllm_version()}) differ from those of "
            f"transformers by {difference:.3g} nats on average ({N_COMPARED} next tokens of {len(expected.prompts)} "
            f"prompts; {expected.tolerance} is allowed in {dtype}): it does not use the weights that it was given. "
            "Generate with transformers: remove `engine`"
        )
