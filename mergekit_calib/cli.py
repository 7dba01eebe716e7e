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
def demo(out: Path) -> None:
    """Sweep the embedded pair of small models, and write to OUT.

    It needs no network and no GPU, and takes minutes on a CPU.
    """
    from mergekit_calib.commands.demo_command import run_demo

    sys.exit(run_demo(out))


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


@main.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--tasks", help="lm-eval tasks, groups or YAML files, separated by commas.")
@click.option("--from", "from_samples", is_flag=True, help="MODELS are samples_*.jsonl of `lm_eval --log_samples`.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for item scores, scores.json and pictures.")
@click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    help="How many documents of each task to use; below 1, a share of them.",
)
@click.option("--num-fewshot", type=click.IntRange(0), help="Number of examples in the prompt.")
@click.option("--apply-chat-template", is_flag=True, help="Put prompts into the model's chat template.")
@click.option("--repeats", type=click.IntRange(1), help="Number of generations for each prompt.")
@click.option("--model-args", default="", help="Arguments of lm-eval's `hf` model, as dtype=float32,device=cpu.")
@click.option("--trust-remote-code", is_flag=True, help="Allow code that comes with a model to run.")
@click.option("--n-bins", type=click.IntRange(1), default=15, show_default=True, help="Number of bins of `ece`.")
def score(models: tuple[str, ...], tasks: str | None, from_samples: bool, out: Path | None, **options: Any) -> None:
    """Print the calibration card of one or more MODELS, side by side.

    MODELS are named as in a mergekit recipe: a model on the Hub, a folder, or `model+lora`. With `--from` they are the
    samples files or output folders of finished `lm_eval --log_samples` runs, and no model is loaded.
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
    "--metrics",
    default="",
    help="Also write a table and pictures of these metrics, as acc,auroc; of one task, as arc_easy/ece.",
)
def report(out: Path, formats: str, metrics: str) -> None:
    """Write the report of the sweep in OUT again: table, pictures, page, and the model card if there is one.

    With --metrics, also a table (calibration/metrics.*) and pictures (metrics_*) of any metrics, which are computed
    from the item scores if the sweep did not. Only files in OUT are read; nothing is scored again.
    """
    doing = f", computing {metrics} from its item scores" if metrics else ""
    with waiting(f"reading {out}{doing}, and writing its report"):
        from mergekit_calib.commands.report_command import rewrite_report

        paths = rewrite_report(out, formats.split(",") if formats else [], metrics)
    for path in paths:
        click.echo(printable(str(path)))


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
