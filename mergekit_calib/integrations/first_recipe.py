"""A first recipe for a pair of models: its dtype, chat template and suite follow from their files.

Only configs, tokenizers and the headers of weight files are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from mergekit.options import MergeOptions

from mergekit_calib.demo import parents as demo_parents
from mergekit_calib.merging.checkpoint_files import check_model_names
from mergekit_calib.merging.config_checks import check_shapes_of_config
from mergekit_calib.merging.hub_headers import header_cache
from mergekit_calib.merging.live_model import silence_transformers
from mergekit_calib.merging.memory import n_parameters
from mergekit_calib.merging.merge_configuration import check_configuration_source
from mergekit_calib.merging.method import register, registered_signatures
from mergekit_calib.merging.parents import ParentModel, check_architectures, check_depths, open_parents
from mergekit_calib.merging.plan_checks import check_plans
from mergekit_calib.merging.recipe_keys import known_keys
from mergekit_calib.merging.tokenizer import template_of, tokenizer_of
from mergekit_calib.merging.tokenizer_checks import check_generation_configs, check_tokenizer_files
from mergekit_calib.merging.tokenizer_choice import choose_tokenizer
from mergekit_calib.recipe import parse_sweep
from mergekit_calib.report.text.safe_text import on_one_line

_SMALL = 1_000_000_000  # parameters below which models mostly guess on MMLU
_SHOTS_OF_MMLU = 2048  # tokens that most of its prompts with 5 examples fit into
_WIDTH = 41  # columns of a line before its comment


@dataclass(frozen=True)
class PairFacts:
    """What a recipe depends on.

    Attributes:
        n_parameters: the number of parameters of the aligned model.
        n_bytes: the size of its weights in bytes.
        dtypes: the dtypes that most numbers of base and aligned are stored in.
        templates: the chat templates of base and aligned; None for one without.
        context: how many tokens the models take; None if their config does not say.
        is_demo: whether they are the embedded pair, or read its language.
        has_gpu: whether this machine has a GPU.
    """

    n_parameters: int
    n_bytes: int
    dtypes: tuple[torch.dtype, torch.dtype]
    templates: tuple[str | None, str | None]
    context: int | None
    is_demo: bool
    has_gpu: bool


def first_recipe(base: str, aligned: str, trust_remote_code: bool = False) -> str:
    """Return a commented recipe for a pair of models, which are checked as a sweep checks them.

    Args:
        base: the model before post-training, as mergekit names it.
        aligned: the model after it.
        trust_remote_code: whether code that comes with a model may run.

    Raises:
        CalibError: a model does not exist or is broken, or the two cannot be merged.
    """
    check_model_names([base, aligned])
    register()
    options = MergeOptions(trust_remote_code=trust_remote_code, quiet=True)
    with silence_transformers(), header_cache([base, aligned], options) as here:
        models = open_parents([base, aligned], here)
        check_architectures(models.values(), here)
        check_shapes_of_config(models.values(), here.trust_remote_code)
        check_depths(models.values())
        text = recipe_text(base, aligned, _facts(models[base], models[aligned], here))
        _check(text, models, here)
    return text


def _check(text: str, models: Mapping[str, ParentModel], options: MergeOptions) -> None:
    """Check the recipe as a sweep's preflight does, as far as that needs no task."""
    sweep = parse_sweep(text, registered_signatures(), None, known_keys())
    choice = choose_tokenizer(sweep, models, options)
    sweep = choice.applied_to(sweep)
    check_configuration_source(next(sweep.corners()).recipe, options)
    if not any(model.reference.lora for model in models.values()):
        check_plans(sweep, models, options)
    check_generation_configs(choice, models.values())
    check_tokenizer_files(sweep, choice, models)


def _facts(base: ParentModel, aligned: ParentModel, options: MergeOptions) -> PairFacts:
    of_base, of_aligned = (template_of(tokenizer_of(model, options)) for model in (base, aligned))
    config = aligned.config.get_text_config()
    return PairFacts(
        n_parameters=n_parameters(aligned),
        n_bytes=aligned.n_bytes,
        dtypes=(base.dtype, aligned.dtype),
        templates=(of_base, of_aligned),
        context=getattr(config, "max_position_embeddings", None),
        is_demo=_reads_the_demos_language(aligned),
        has_gpu=torch.cuda.is_available(),
    )


def _reads_the_demos_language(model: ParentModel) -> bool:
    own, demos = model.folder / "tokenizer.json", demo_parents()[1] / "tokenizer.json"
    return own.exists() and own.read_bytes() == demos.read_bytes()


def recipe_text(base: str, aligned: str, facts: PairFacts) -> str:
    """Return the recipe of a pair as YAML with comments.

    Args:
        base: the model before post-training, as mergekit names it.
        aligned: the model after it.
        facts: what the recipe depends on.
    """
    head = [
        f"# {on_one_line(base)} → {on_one_line(aligned)}",
        "#",
        f"# For models of {_amount(facts.n_parameters)} parameters, {_size(facts.n_bytes)} of weights each. "
        "`mergekit-calib init` wrote it; every line may be changed.",
        "#",
        "#   mergekit-calib plan RECIPE             checks it, and says what it will cost here (or --gpu h100)",
        "#   mergekit-yaml RECIPE OUT               runs it; the same command goes on after a stop",
        "",
        "merge_method: calibration_sweep",
        _line(f"base_model: {_quoted(base)}", "λ = 0: before post-training"),
        "models:",
        _line(f"  - model: {_quoted(aligned)}", "λ = 1: after it"),
        "parameters:",
        _line("  method: linear", "or slerp, task_arithmetic, ties, dare_ties, …"),
        *_dtype(facts),
        *_order(facts),
        "",
        "calibration:",
        "  axes:",
        _line("    lambda: {min: 0.0, max: 1.5}", "the whole curve from some ten points; λ > 1 amplifies"),
    ]
    rest = [
        _line("  objectives: [acc, ece]", "more accuracy, less calibration error"),
        _line("  select: {rule: one_se}", "by proper scores; all rules: configs/README.md"),
    ]
    return "\n".join([*head, *_suite(facts), *_chat(facts), *rest, *_model_args(facts)]) + "\n"


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)  # a JSON string is a YAML string


def _line(code: str, comment: str) -> str:
    return f"{code:<{_WIDTH}} # {comment}"


def _amount(n: int) -> str:
    for unit, name in ((1e9, "billion"), (1e6, "million")):
        if n >= unit:
            return f"{n / unit:.3g} {name}"
    return f"{n:,}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2g} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.2g} MB"


def _dtype(facts: PairFacts) -> list[str]:
    of_base, of_aligned = (str(dtype).removeprefix("torch.") for dtype in facts.dtypes)
    stored = "as both are stored" if of_base == of_aligned else f"as aligned is stored; base is in {of_base}"
    return [_line(f"dtype: {of_aligned}", f"of the merged weights: {stored}")]


def _order(facts: PairFacts) -> list[str]:
    of_base, of_aligned = facts.templates
    if of_base is None or of_aligned is not None:
        return []
    return ["# The base model has a chat template and the aligned model has none: are they the right way round?"]


def _suite(facts: PairFacts) -> list[str]:
    if facts.is_demo:
        return [
            "  suite:                                  # needs no network. The tasks of lm-eval are in English, which",
            _line("    - calib_demo", "these models cannot read: 5,000 questions about their facts"),
        ]
    head = "  suite:                                  # lm-eval's tasks; fetched from the Hub at the first run"
    if facts.n_parameters < _SMALL or (facts.context is not None and facts.context < _SHOTS_OF_MMLU):
        small = facts.n_parameters < _SMALL
        why = "models of this size mostly guess on MMLU" if small else "5 examples of MMLU are longer than the context"
        return [
            head,
            f"    # ({why})",
            _line("    - {task: arc_easy, num_fewshot: 0}", "2,376 questions"),
            _line("    - {task: sciq, num_fewshot: 0}", "1,000 questions"),
        ]
    return [
        head,
        _line("    - {task: calib_mmlu, limit: 1140}", "5 shots, 20 questions of each of the 57 subjects"),
        "    - {task: arc_challenge, num_fewshot: 0, limit: 400}",
    ]


def _chat(facts: PairFacts) -> list[str]:
    of_base, of_aligned = facts.templates
    if of_aligned is None:
        return []
    if of_base == of_aligned:
        return [_line("  apply_chat_template: true", "both models have this template")]
    whose = "Only aligned has a chat template" if of_base is None else "The models' chat templates differ"
    return [
        f"  # {whose}. Points are written with aligned's, and scored without it: base was not tuned on it.",
        "  # apply_chat_template: true",
    ]


def _model_args(facts: PairFacts) -> list[str]:
    if facts.has_gpu:
        return []
    return [_line("  model_args: {dtype: float32}", "faster on most CPUs, and more exact; omit it on a GPU")]
