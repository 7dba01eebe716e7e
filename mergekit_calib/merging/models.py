"""The models of a sweep's points, made one at a time."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from mergekit.common import dtype_from_name
from mergekit.config import MergeConfiguration
from mergekit.merge import _copy_tokenizer, run_merge
from mergekit.options import MergeOptions

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.device_map import DeviceMap
from mergekit_calib.merging.live_model import LiveModel, model_class, silence_transformers
from mergekit_calib.merging.merge_configuration import active_configuration, configuration, dtype_problem
from mergekit_calib.merging.plan import Plan, ResidentTensors
from mergekit_calib.merging.tokenizer import copy_tokenizer_files, load_tokenizer
from mergekit_calib.merging.tokenizer_choice import TokenizerChoice
from mergekit_calib.merging.weights_digest import digest_of
from mergekit_calib.recipe import Point


@dataclass(frozen=True)
class ReadyModel:
    """A point's model, ready to be scored.

    Attributes:
        model: the model, in evaluation mode and on the device that scores.
        tokenizer: the tokenizer that the written model will have.
        digest: the digest of the weights that `mergekit-yaml` would write for this point.
    """

    model: transformers.PreTrainedModel
    tokenizer: transformers.PreTrainedTokenizerBase
    digest: str


class PointModels:
    """Makes models of points: in place if only the weights change, through a temporary folder otherwise.

    Args:
        options: mergekit's options. `random_seed` must be set, so that randomised methods can be repeated.
        choice: the tokenizer of the points.
        scratch: the folder for temporary merges.
        device: the device that models are scored on; merging itself runs on the device in `options`.
        dtype: the name of the dtype that the models compute in; None for that of the merged weights.
        keep_parents: whether the parents' tensors stay in memory between points.
        add_bos_token: lm-eval's `add_bos_token`, which is also passed to the tokenizer; None if it is not given.
        device_map: spreads the models over several devices, of which `device` is the first; None to use `device` alone.
        in_turn: a context that the live model is first built in, so that several processes do it one after another.
    """

    def __init__(
        self,
        options: MergeOptions,
        choice: TokenizerChoice,
        scratch: Path,
        device: torch.device,
        dtype: str | None = None,
        keep_parents: bool = True,
        add_bos_token: bool | None = None,
        device_map: DeviceMap | None = None,
        in_turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        if options.random_seed is None:
            raise ValueError("options.random_seed must be set")
        self._options, self._choice, self._scratch, self._device = options, choice, scratch, device
        self._dtype, self._add_bos_token, self._device_map = compute_dtype(dtype), add_bos_token, device_map
        self._in_turn = in_turn
        self._residents = ResidentTensors(options, keep_parents)
        self._live: LiveModel | None = None
        self._tokenizers: dict[str, transformers.PreTrainedTokenizerBase] = {}

    @contextmanager
    def at(self, point: Point) -> Iterator[ReadyModel]:
        """Make the model of a point for the `with` block; the next point's model overwrites it.

        Args:
            point: the point.

        Raises:
            CalibError: mergekit cannot plan the recipe, or its weights hold NaN or infinity.
        """
        config = configuration(point.recipe)
        plan = self._plan(config)
        if not self._only_weights_change(config, plan):
            with self._through_disk(config, plan) as ready:
                yield ready
            return
        # As run_merge does, so that randomised methods draw the same numbers.
        transformers.set_seed(self._options.random_seed)
        tensors = plan.tensors(self._residents)
        if self._live is not None and self._live.is_for(plan.config):
            self._live.set(tensors)
        else:
            self._live = None  # frees its memory before the next one is made
            with self._in_turn():
                self._live = LiveModel(
                    plan.config,
                    tensors,
                    device=self._device,
                    device_map=self._device_map,
                    dtype=self._dtype,
                    trust_remote_code=self._options.trust_remote_code,
                )
        self._set_generation_config(self._live.model)
        yield ReadyModel(self._live.model, self._tokenizer(config), self._live.digest)

    def only_weights_change(self, point: Point) -> bool:
        """Return whether a point has the parents' layers and vocabulary, so that a model can be set to it in place.

        Args:
            point: the point.

        Raises:
            CalibError: mergekit cannot plan the recipe.
        """
        config = configuration(point.recipe)
        return self._only_weights_change(config, self._plan(config))

    def tokenizer_of(self, point: Point) -> transformers.PreTrainedTokenizerBase:
        """Return the tokenizer of a point of which only the weights change.

        Args:
            point: the point.
        """
        return self._tokenizer(configuration(point.recipe))

    def discard(self) -> None:
        """Free the live model: before a merge that is written, or after a failure."""
        self._live = None
        gc.collect()  # scorers refer to their model in cycles
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def write(self, point: Point, folder: Path, digest: str | None) -> None:
        """Write the model of a point with mergekit itself, and check that it is the one that was scored.

        Args:
            point: the point.
            folder: the folder to write to; mergekit creates it.
            digest: `ReadyModel.digest` of the scored weights; None to skip the check.

        Raises:
            CalibError: the written weights are not the scored ones.
        """
        # Without mergekit's model card, for which it looks up every model on the hub, even those in local folders.
        options = self._options.model_copy(update={"write_model_card": False})
        run_merge(configuration(point.recipe), str(folder), options, config_source=point.yaml)
        (folder / "mergekit_config.yml").write_text(point.yaml, encoding="utf-8")
        if self._choice.folder is not None:
            copy_tokenizer_files(self._choice.folder, folder)
        axes = self._plan(configuration(point.recipe)).vocabulary_axes
        written = digest_of(folder, axes, self._options.trust_remote_code)
        if digest is not None and written != digest:
            raise CalibError(
                f"the weights that mergekit wrote for {point.id} are not the ones that were scored (digest {written}, "
                f"scored {digest}); this is a defect of mergekit-calib, please report it with the recipe"
            )

    def _plan(self, config: MergeConfiguration) -> Plan:
        return Plan(config, self._options, keeps_vocabulary=not self._choice.changes_weights)

    def _only_weights_change(self, config: MergeConfiguration, plan: Plan) -> bool:
        changes_vocabulary = plan.builds_tokenizer or self._options.unsafe_truncate_embeddings
        return not changes_vocabulary and not self._changes_depth(config, plan)

    def _changes_depth(self, config: MergeConfiguration, plan: Plan) -> bool:
        """Return whether slices give the merged model another number of layers than its config's source has."""
        if not config.slices and not config.modules:
            return False
        donor = (config.base_model or config.referenced_models()[0]).config(self._options.trust_remote_code)
        return active_configuration(donor) != active_configuration(plan.config)

    @contextmanager
    def _through_disk(self, config: MergeConfiguration, plan: Plan) -> Iterator[ReadyModel]:
        """Merge into a temporary folder with mergekit itself, and load the model from there."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="point-") as name:
            folder = Path(name)
            run_merge(config, str(folder), self._options.model_copy(update={"write_model_card": False}))
            if self._choice.folder is not None:
                copy_tokenizer_files(self._choice.folder, folder)
            loaded = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=self._options.trust_remote_code)
            with silence_transformers():
                model = model_class(loaded, self._options.trust_remote_code).from_pretrained(
                    folder, dtype=self._dtype or "auto"
                )
            model = model.eval().requires_grad_(False)
            model = self._device_map.place(model) if self._device_map else model.to(self._device)
            digest = digest_of(folder, plan.vocabulary_axes, self._options.trust_remote_code)
            yield ReadyModel(model, self._load_tokenizer(folder), digest)

    def _tokenizer(self, config: MergeConfiguration) -> transformers.PreTrainedTokenizerBase:
        """Return the tokenizer that the written model will have."""
        donor = config.base_model or config.referenced_models()[0]
        auto = [str(m) for m in config.referenced_models()] if config.chat_template == "auto" else []
        source = str(self._choice.folder or (str(donor), config.chat_template, auto))
        if source not in self._tokenizers:
            if self._choice.folder is not None:
                self._tokenizers[source] = self._load_tokenizer(self._choice.folder)
            else:
                with tempfile.TemporaryDirectory() as folder:
                    _copy_tokenizer(config, folder, options=self._options)
                    self._tokenizers[source] = self._load_tokenizer(Path(folder))
        return self._tokenizers[source]

    def _load_tokenizer(self, folder: Path) -> transformers.PreTrainedTokenizerBase:
        return load_tokenizer(folder, self._options, self._add_bos_token)

    def _set_generation_config(self, model: transformers.PreTrainedModel) -> None:
        """Give the model the generation config that the written model will have."""
        folder = self._choice.folder
        if folder is not None and (folder / "generation_config.json").exists():
            model.generation_config = transformers.GenerationConfig.from_pretrained(folder)


def compute_dtype(name: str | None) -> torch.dtype | None:
    """Return the torch dtype for lm-eval's `dtype`; None for `auto`, which is the dtype of the weights.

    Args:
        name: the value of `dtype` in `model_args`; None if it is not given.

    Raises:
        CalibError: it is not a dtype that mergekit knows.
    """
    if name in (None, "auto"):
        return None
    if problem := dtype_problem(name):
        raise CalibError(f"model_args.dtype {problem}, or auto")
    dtype: torch.dtype = dtype_from_name(str(name))
    return dtype
