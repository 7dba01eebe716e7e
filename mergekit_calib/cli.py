"""The command `mergekit-calib` and its subcommands; what each one does is in `commands/`.

A subcommand imports its module when it is called, and says what it is doing before an import that takes seconds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from mergekit_calib.integrations.boundary import boundary
from mergekit_calib.report.terminal.waiting import waiting
from mergekit_calib.report.text.safe_text import printable


class _Group(click.Group):
    """A group whose commands end in one line and an exit status, whatever stops them."""

    def invoke(self, ctx: click.Context) -> object:
        with boundary():
            return super().invoke(ctx)


@click.group(cls=_Group)
@click.version_option(package_name="mergekit-calib")
def main() -> None:
    """Calibration-aware model merging.

    To sweep over merges you need no command of this group: put a `calibration:` block into a mergekit recipe and run
    `mergekit-yaml recipe.yml out/`.
    """


@main.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--points", type=click.IntRange(1), help="Score at most this many points beside the parents.")
@click.option("--limit", type=click.IntRange(1), help="Ask only so many of the 5,000 questions.")
def demo(out: Path, points: int | None, limit: int | None) -> None:
    """Sweep the embedded pair of small models, and write to OUT.

    It needs no network and no GPU, and takes minutes on a CPU. For a first look: `--points 6 --limit 1000`.
    """
    from mergekit_calib.commands.demo_command import run_demo

    sys.exit(run_demo(out, points, limit))


@main.command()
@click.argument("base")
@click.argument("aligned")
@click.option("--to", type=click.Path(path_type=Path), help="File to write; it must not exist. Printed if not set.")
@click.option("--trust-remote-code", is_flag=True, help="Allow code that comes with a model to run.")
def init(base: str, aligned: str, to: Path | None, trust_remote_code: bool) -> None:
    """Write a first recipe for BASE and ALIGNED, models before and after post-training.

    Dtype, chat template and suite suit the pair. Only configs, tokenizers and headers of weight files are read; of
    models on the Hub, only these are fetched.
    """
    with waiting("loading libraries, reading the models"):
        from mergekit_calib.commands.init_command import init_recipe

        text = init_recipe(base, aligned, to, trust_remote_code)
    click.echo(text if to is None else printable(str(to)), nl=to is not None)


@main.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def sweep(arguments: tuple[str, ...]) -> None:
    """Run a recipe with a `calibration:` block, as `mergekit-yaml RECIPE OUT` does, with mergekit's options."""
    from mergekit_calib.integrations.recipe_runner import check_block
    from mergekit_calib.recipe import has_calibration_block, text_of_sweep

    with waiting("reading the recipe, loading mergekit"):
        # Before mergekit, which declares the options, is imported: that takes seconds.
        for path in filter(Path.is_file, map(Path, arguments)):
            text = text_of_sweep(path)
            if has_calibration_block(text, str(path)):
                check_block(text, str(path))
        from mergekit_calib.commands.sweep_command import sweep_command

    # Not in click's standalone mode, in which Ctrl-C would end in `Aborted!` and exit status 1.
    sys.exit(sweep_command.main(list(arguments), prog_name="mergekit-calib sweep", standalone_mode=False) or 0)


@main.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def plan(arguments: tuple[str, ...]) -> None:
    """Check a recipe with a `calibration:` block, and print what its sweep will cost; no weights are loaded.

    Options: --gpu NAME, --workers N, --minutes M, and mergekit's.
    """
    with waiting("loading mergekit and lm-eval"):
        from mergekit_calib.commands.plan_command import plan_command

    sys.exit(plan_command.main(list(arguments), prog_name="mergekit-calib plan", standalone_mode=False) or 0)


# lm-eval's spelling of its options, and the same with `-` for `_`.
@main.command(context_settings={"token_normalize_func": lambda name: name.replace("-", "_")})
@click.argument("models", nargs=-1, required=True)
@click.option("--tasks", "-t", help="lm-eval tasks, groups or YAML files, separated by commas.")
@click.option("--from", "from_samples", is_flag=True, help="MODELS are samples_*.jsonl of `lm_eval --log_samples`.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for item scores, scores.json and pictures.")
@click.option(
    "--limit",
    "-L",
    type=click.FloatRange(0, min_open=True),
    help="How many documents of each task to use; below 1, a share of them.",
)
@click.option("--num_fewshot", "-f", type=click.IntRange(0), help="Number of examples in the prompt.")
@click.option("--apply_chat_template", is_flag=True, help="Put prompts into the model's chat template.")
@click.option("--system_instruction", help="System instruction at the beginning of each prompt.")
@click.option("--repeats", type=click.IntRange(1), help="Number of generations for each prompt.")
@click.option("--device", help="Device that scores, as cuda:0 or cpu; a GPU if there is one, when not set.")
@click.option(
    "--batch_size", "-b", help="Batch size for generated answers: a number, auto or auto:N. Choices need none."
)
@click.option("--model_args", "-a", default="", help="Arguments of lm-eval's `hf` model, as dtype=float32.")
@click.option("--trust_remote_code", is_flag=True, help="Allow code that comes with a model to run.")
@click.option("--n_bins", type=click.IntRange(1), default=15, show_default=True, help="Number of bins of `ece`.")
def score(models: tuple[str, ...], tasks: str | None, from_samples: bool, out: Path | None, **options: Any) -> None:
    """Print the calibration card of one or more MODELS, side by side.

    MODELS are named as in a mergekit recipe: a model on the Hub, a folder, or `model+lora`. With `--from` they are the
    samples files or output folders of finished `lm_eval --log_samples` runs, and no model is loaded. Options are spelt
    as lm-eval spells them, or with `-` for `_`.
    """
    with waiting("loading libraries"):
        from mergekit_calib.commands.score_command import card_from_models, card_from_samples

    if from_samples:
        card_from_samples(models, out, int(options["n_bins"]))
    elif not (named := [task.strip() for task in (tasks or "").split(",") if task.strip()]):
        raise click.UsageError("name the --tasks to score on, or give samples with --from")
    else:
        card_from_models(models, named, out, **options)


@main.command()
@click.argument("out", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--format",
    "formats",
    default="",
    help="Also write the table of points as md, csv, json or tex (latex); separate several by commas.",
)
@click.option(
    "--max-error",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Say from which confidence to answer so that this share of answers is wrong at most; 0.05 unless set before.",
)
@click.option(
    "--metrics",
    default="",
    help="Also write a table and pictures of these metrics, as acc,auroc; of one task, as arc_easy/ece.",
)
def report(out: Path, formats: str, max_error: float | None, metrics: str) -> None:
    """Write the report of the sweep in OUT again: table, pictures, page, and the model card if there is one.

    With --metrics, also a table (calibration/metrics.*) and pictures (metrics_*) of any metrics, which are computed
    from the item scores if the sweep did not. Only files in OUT are read; nothing is scored again.
    """
    doing = f", computing {metrics} from its item scores" if metrics else ""
    with waiting(f"reading {out}{doing}, and writing its report"):
        from mergekit_calib.commands.report_command import rewrite_report

        paths = rewrite_report(out, formats.split(",") if formats else [], metrics, max_error)
    for path in paths:
        click.echo(printable(str(path)))


@main.command()
@click.argument("out", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--point", help="The point to write, as λ=0.3 or aligned; it is scored first if it was not.")
@click.option(
    "--rule", help="The rule that chooses anew, by name or as {rule: max, objective: acc}; recipe: the recipe's own."
)
@click.option(
    "--to", type=click.Path(path_type=Path), help="A new folder for the model; without it, OUT's model is replaced."
)
@click.option(
    "--as",
    "form",
    type=click.Choice(["model", "adapter"]),
    default="model",
    show_default=True,
    help="adapter: for recipes of base+lora that are linear in λ, the LoRA with its change scaled, to be served beside "
    "the base; needs --to.",
)
@click.option(
    "--check",
    metavar="MODEL_ARGS",
    help="Score the written model and its parents once as they will be served, as {load_in_4bit: true}: any "
    "model_args of lm-eval's hf. Alone, it checks the model in OUT, or in the folder of --to.",
)
@click.option("--push-to-hub", "repository", metavar="REPO", help="Upload the model with its card to REPO on the Hub.")
@click.option("--public", is_flag=True, help="Let everybody see REPO; it is private otherwise.")
@click.option(
    "--parent-name",
    "parent_names",
    multiple=True,
    metavar="ROLE=NAME",
    help="A parent's name on the Hub, where the recipe has a local folder, as aligned=org/model.",
)
def write(
    out: Path,
    point: str | None,
    rule: str | None,
    to: Path | None,
    form: str,
    check: str | None,
    repository: str | None,
    public: bool,
    parent_names: tuple[str, ...],
) -> None:
    """Write another point of the finished sweep in OUT, with its card: one that you name, or that another rule chooses.

    No point is scored again. Without --to the model in OUT is replaced, and the decision is kept if the sweep is run
    again; `--rule recipe` undoes it. With --push-to-hub and neither --point nor --rule, the model that is in OUT is
    uploaded: weights, tokenizer, plain recipe, card and its pictures.
    """
    asks = point is not None or rule is not None
    if point is not None and rule is not None:
        raise click.UsageError("give either --point or --rule")
    if not asks and check is None and repository is None:
        raise click.UsageError("give either --point or --rule, or --check or --push-to-hub for the model in OUT")
    if form == "adapter" and (to is None or check is not None or not asks):
        raise click.UsageError("--as adapter needs --to DIR, with --point or --rule, and goes without --check")
    if not asks and to is not None and check is None:
        raise click.UsageError("--to is for another point: give --point or --rule")
    if repository is None and (public or parent_names):
        raise click.UsageError("--public and --parent-name are for --push-to-hub")
    if repository is not None:
        with waiting(f"reading {out}"):
            from mergekit_calib.integrations.hub_upload import check_upload, parse_parent_names, push

            names = parse_parent_names(parent_names)
            check_upload(out, repository, names)
    if asks or check is not None:
        with waiting(f"reading {out}, loading mergekit and lm-eval"):
            from mergekit_calib.commands.served_check_command import check_as_served, parsed_model_args
            from mergekit_calib.commands.write_command import write_another

        model_args = None if check is None else parsed_model_args(check)
        if asks:
            write_another(out, point, rule, to, form == "adapter", quiet=check is not None)
        if model_args is not None:
            check_as_served(out, to, model_args)
    if repository is not None:
        with waiting(f"uploading to {repository}"):
            address = push(to or out, repository, not public, names)
        click.echo(printable(address))


@main.command()
@click.argument("outs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--to", default="comparison", show_default=True, type=click.Path(path_type=Path), help="Folder to write to."
)
@click.option("--metrics", default="", help="Metrics to compare, as acc,ece,auroc; of one task, as arc_easy/ece.")
@click.option(
    "--format",
    "formats",
    default="md,csv",
    show_default=True,
    help="Tables to write: md, csv, tex; separated by commas.",
)
def compare(outs: tuple[Path, ...], to: Path, metrics: str, formats: str) -> None:
    """Compare the finished sweeps in OUTS in one page, with tables and pictures.

    Their choices are compared on the items that they were both scored on, paired.
    """
    doing = f", computing {metrics}" if metrics else ""
    with waiting(f"reading {', '.join(map(str, outs))}{doing}, and comparing on the items in common"):
        from mergekit_calib.report.comparison_files import write_comparison

        page = write_comparison(outs, to, metrics, formats.split(","))
    click.echo(printable(str(page)))


@main.command()
def doctor() -> None:
    """Check whether the plugin works in this environment, and list what it finds."""
    from mergekit_calib.commands.doctor import examine

    sys.exit(0 if examine(click.echo) else 1)
