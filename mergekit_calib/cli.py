"""The command `mergekit-calib`: what the hosts' own commands do not do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from mergekit_calib.errors import CalibError


class _Group(click.Group):
    """Prints a user's mistake as one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except CalibError as problem:
            raise click.ClickException(str(problem)) from problem


@click.group(cls=_Group)
@click.version_option(package_name="mergekit-calib")
def main() -> None:
    """Calibration-aware model merging: sweep, score, report, and look at what is installed.

    The main job needs no command of its own: put a `calibration:` block into a mergekit recipe and run
    `mergekit-yaml recipe.yml out/`.
    """


@main.command()
@click.argument("out", type=click.Path(path_type=Path))
def demo(out: Path) -> None:
    """Sweep the embedded pair of small models into OUT; needs no network and no GPU."""
    from mergekit.options import MergeOptions

    from mergekit_calib.demo import sweep_yaml
    from mergekit_calib.integrations.recipe_runner import run_source

    sys.exit(run_source(sweep_yaml(), str(out), MergeOptions(), "demo.yml"))


@main.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def sweep(arguments: tuple[str, ...]) -> None:
    """Run a recipe with a `calibration:` block, as `mergekit-yaml RECIPE OUT` does, with mergekit's options."""
    from mergekit_calib.commands.sweep_command import sweep_command

    sweep_command.main(list(arguments), prog_name="mergekit-calib sweep")


@main.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--tasks", help="lm-eval tasks, groups or YAML files, with commas between them.")
@click.option("--from", "from_samples", is_flag=True, help="MODELS are samples_*.jsonl of `lm_eval --log_samples`.")
@click.option("--out", type=click.Path(path_type=Path), help="Where item scores, scores.json and pictures go.")
@click.option(
    "--limit", type=click.FloatRange(0, min_open=True), help="So many documents of each task, or that share of them."
)
@click.option("--num-fewshot", type=click.IntRange(0), help="Examples in the prompt.")
@click.option("--apply-chat-template", is_flag=True, help="Ask in the model's chat template.")
@click.option("--repeats", type=click.IntRange(1), help="Generations for each prompt.")
@click.option("--model-args", default="", help="As lm_eval takes them: dtype=float32,device=cpu.")
@click.option("--trust-remote-code", is_flag=True, help="Run code that comes with a model.")
@click.option("--n-bins", type=click.IntRange(1), default=15, show_default=True, help="Bins of confidence.")
def score(models: tuple[str, ...], tasks: str | None, from_samples: bool, out: Path | None, **options: Any) -> None:
    """Print the calibration card of MODELS, side by side.

    MODELS are named as mergekit names them: a hub name, a folder, `model+lora`. With `--from` they are the sample
    files, or output folders, of finished `lm_eval --log_samples` runs, and no model is loaded.
    """
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
    "--format", "formats", default="", help="Also write the table as md, csv, json or latex; several by commas."
)
def report(out: Path, formats: str) -> None:
    """Draw the table, the pictures, the page and the card (if there is one) of a run again, from its files alone."""
    from mergekit_calib.report.report_files import write_report
    from mergekit_calib.report.tables.comparison import load_sweep
    from mergekit_calib.report.tables.export import write_exports

    frontier = load_sweep(out)
    exports = write_exports(frontier, out, formats.split(",")) if formats else []
    write_report(frontier, out, card=(out / "README.md").exists())
    for path in (out / "calibration" / "report.html", *exports):
        click.echo(path)


@main.command()
@click.argument("outs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--to", default="comparison", type=click.Path(path_type=Path), help="The folder to write to.")
def compare(outs: tuple[Path, ...], to: Path) -> None:
    """Lay finished sweeps over each other: one figure, one table, one page."""
    from mergekit_calib.report.comparison_files import write_comparison

    click.echo(write_comparison(outs, to))


@main.command()
def doctor() -> None:
    """Say whether the plugin is active in this environment, and what it found."""
    from mergekit_calib.commands.doctor import examine

    lines, healthy = examine()
    for line in lines:
        click.echo(line)
    sys.exit(0 if healthy else 1)
