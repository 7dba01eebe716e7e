"""The models of a sweep's points, one at a time: what `sweep.py` asks for, and how each is made."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from mergekit.common import dtype_from_name
from mergekit.config import MergeConfiguration
from mergekit.io.lazy_tensor_loader import LazyTensorLoader
from mergekit.merge import _copy_tokenizer, run_merge
from mergekit.options import MergeOptions

from mergekit_calib.errors import CalibError
from mergekit_calib.merging.live_model import Digest, LiveModel, active_configuration, model_class, silence_transformers
from mergekit_calib.merging.plan import Plan, ResidentTensors, configuration, dtype_problem
from mergekit_calib.merging.tokenizer import TokenizerChoice, copy_tokenizer_files, load_tokenizer
from mergekit_calib.recipe import Point


@dataclass(frozen=True)
class ReadyModel:
    """A point's model, ready to be scored.

    Attributes:
        model: in evaluation mode, on the device that scores.
        tokenizer: the one that the written model will carry.
        digest: of the weights that `mergekit-yaml` would write for this point.
    """

    model: transformers.PreTrainedModel
    tokenizer: transformers.PreTrainedTokenizerBase
    digest: str


class PointModels:
    """Turns points into models: in place where only weights change, through a temporary folder where more does.

    Args:
        options: mergekit's; `random_seed` is set, so that randomised methods can be repeated.
        choice: whose tokenizer the points carry.
        scratch: where temporary merges go.
        device: where models are scored; merging itself runs where `options` say.
        dtype: what the models compute in, a name as in `float32`; None for the merged weights' own.
        keep_parents: whether their tensors stay in memory from point to point.
        add_bos_token: lm-eval's `add_bos_token`, which is an argument of the tokenizer too; None where it is not given.
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
    ) -> None:
        if options.random_seed is None:
            raise ValueError("options.random_seed must be set")
        self._options, self._choice, self._scratch, self._device = options, choice, scratch, device
        self._dtype, self._add_bos_token = compute_dtype(dtype), add_bos_token
        self._residents = ResidentTensors(options, keep_parents)
        self._live: LiveModel | None = None
        self._tokenizers: dict[str, transformers.PreTrainedTokenizerBase] = {}

    @contextmanager
    def at(self, point: Point) -> Iterator[ReadyModel]:
        """The model of `point`, valid until the next one is asked for.

        Raises:
            CalibError: mergekit cannot plan the recipe, or its weights hold NaN or infinity.
        """
        config = self._arithmetic(point)
        plan = Plan(config, self._options)
        if plan.builds_tokenizer or self._options.unsafe_truncate_embeddings or self._changes_depth(config, plan):
            with self._through_disk(config, plan) as ready:
                yield ready
            return
        # As run_merge does, so that randomised methods draw the same numbers.
        transformers.set_seed(self._options.random_seed)
        tensors = plan.tensors(self._residents)
        if self._live is not None and self._live.is_for(plan.config):
            self._live.set(tensors)
        else:
            self._live = None  # its memory goes before the next one's is taken
            self._live = LiveModel(
                plan.config,
                tensors,
                device=self._device,
                dtype=self._dtype,
                trust_remote_code=self._options.trust_remote_code,
            )
        self._speak_as_written(self._live.model)
        yield ReadyModel(self._live.model, self._tokenizer(config), self._live.digest)

    def discard(self) -> None:
        """Let go of the live model: before a merge that is written, or to start from a clean device after a failure."""
        self._live = None
        gc.collect()  # scorers hold on to their model in circles
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def write(self, point: Point, folder: Path, digest: str | None) -> None:
        """Write the model of `point` with mergekit itself, and check that it is the one that was scored.

        Args:
            folder: where to; created by mergekit.
            digest: of the scored weights, from `ReadyModel`; None for a point that was not scored here.

        Raises:
            CalibError: the written weights are not the scored ones.
        """
        # Without mergekit's card, which looks models up on the hub, even a folder named as a repository would be.
        options = self._options.model_copy(update={"write_model_card": False})
        run_merge(configuration(point.recipe), str(folder), options, config_source=point.yaml)
        (folder / "mergekit_config.yml").write_text(point.yaml, encoding="utf-8")
        if self._choice.folder is not None:
            copy_tokenizer_files(self._choice.folder, folder)
        axes = Plan(self._arithmetic(point), self._options).vocabulary_axes
        written = digest_of(folder, axes, self._options.trust_remote_code)
        if digest is not None and written != digest:
            raise CalibError(
                f"the weights that mergekit wrote for {point.id} are not the ones that were scored (digest {written}, "
                f"scored {digest}); this is a defect of mergekit-calib, please report it with the recipe"
            )

    def _arithmetic(self, point: Point) -> MergeConfiguration:
        """The point's configuration without the tokenizer settings that leave its weights alone."""
        config = configuration(point.recipe)
        if self._choice.changes_weights:
            return config
        return config.model_copy(update={"tokenizer_source": None})

    def _changes_depth(self, config: MergeConfiguration, plan: Plan) -> bool:
        """Whether slices give the result another number of layers than the model its configuration is from."""
        if not config.slices and not config.modules:
            return False
        donor = (config.base_model or config.referenced_models()[0]).config(self._options.trust_remote_code)
        return active_configuration(donor) != active_configuration(plan.config)

    @contextmanager
    def _through_disk(self, config: MergeConfiguration, plan: Plan) -> Iterator[ReadyModel]:
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
            model = model.to(self._device).eval().requires_grad_(False)
            digest = digest_of(folder, plan.vocabulary_axes, self._options.trust_remote_code)
            yield ReadyModel(model, self._loaded(folder), digest)

    def _tokenizer(self, config: MergeConfiguration) -> transformers.PreTrainedTokenizerBase:
        """The tokenizer that the written model will carry."""
        donor = config.base_model or config.referenced_models()[0]
        source = str(self._choice.folder or donor)
        if source not in self._tokenizers:
            if self._choice.folder is not None:
                self._tokenizers[source] = self._loaded(self._choice.folder)
            else:
                with tempfile.TemporaryDirectory() as folder:
                    _copy_tokenizer(config, folder, options=self._options)
                    self._tokenizers[source] = self._loaded(Path(folder))
        return self._tokenizers[source]

    def _loaded(self, folder: Path) -> transformers.PreTrainedTokenizerBase:
        return load_tokenizer(folder, self._options, self._add_bos_token)

    def _speak_as_written(self, model: transformers.PreTrainedModel) -> None:
        """Give the model the generation configuration that the written model will carry."""
        folder = self._choice.folder
        if folder is not None and (folder / "generation_config.json").exists():
            model.generation_config = transformers.GenerationConfig.from_pretrained(folder)


def compute_dtype(name: str | None) -> torch.dtype | None:
    """lm-eval's `dtype` as torch has it; None for `auto`, the weights' own.

    Raises:
        CalibError: not a dtype that mergekit knows.
    """
    if name in (None, "auto"):
        return None
    if problem := dtype_problem(name):
        raise CalibError(f"model_args.dtype {problem}, or auto")
    return dtype_from_name(str(name))


def digest_of(folder: Path, vocabulary_axes: Mapping[str, int] | None = None, trust_remote_code: bool = False) -> str:
    """The digest of a written model's tensors, comparable with `ReadyModel.digest`.

    Args:
        vocabulary_axes: tensors to be taken in the order of the folder's tokens → the axis that these stand on.
            mergekit numbers the tokens that a union adds differently each time.
        trust_remote_code: of the folder's tokenizer, which gives that order.
    """
    digest = Digest()
    loader = LazyTensorLoader.from_disk(str(folder), lazy_unpickle=False)  # which cannot read what mergekit pickles
    axes = vocabulary_axes or {}
    order = _order_of_tokens(folder, trust_remote_code) if axes else torch.arange(0)
    for shard in loader.index.shards:
        for name in shard.contained_keys:
            tensor = loader.get_tensor(name)
            digest.update(name, tensor.index_select(axes[name], order) if name in axes else tensor)
    return digest.hexdigest()


def _order_of_tokens(folder: Path, trust_remote_code: bool) -> torch.Tensor:
    vocabulary = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code).get_vocab()
    return torch.tensor([vocabulary[token] for token in sorted(vocabulary)])
