"""`cifar-zoo fit`: train a network."""

from __future__ import annotations

import json
import math
import statistics
import time
from typing import TYPE_CHECKING, Any

import click

from cifar_zoo.cli.backend import load_backend

if TYPE_CHECKING:
    from cifar_zoo.training.fit import Run

NAMES = {"test": "test", "holdout": "held-out"}  # of the images by which a run is judged, best first


@click.command()
@click.argument("name")
@click.option("--recipe", default="zoo", show_default=True, help="Recipe to follow; `cifar-zoo recipes` shows them.")
@click.option("--epochs", type=int, help="In place of the recipe's, which is stretched.")
@click.option("--batch-size", type=int, help="In place of the recipe's.")
@click.option(
    "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Change a field of the recipe; may repeat."
)
@click.option(
    "--data", help="CIFAR-10: an .npz file, a folder or the archive.  [default: CIFAR_ZOO_DATA, cache, download]"
)
@click.option("--examples", type=int, help="Train on the first so many images only.")
@click.option(
    "--seeds",
    "--seed",
    default="0",
    show_default=True,
    metavar="N[,N...]",
    help="Of weights, order and augmentation; one run for each.",
)
@click.option(
    "--run-dir",
    help="Where the run is kept; for several seeds, with -SEED behind it.  [default: runs/NAME-RECIPE-SEED]",
)
@click.option("--precision", help="float32 or mixed_bfloat16.  [default: what the hardware has]")
@click.option(
    "--holdout", default=0, show_default=True, help="Images kept out of the training and measured every epoch."
)
@click.option(
    "--evaluate-test/--no-evaluate-test",
    default=None,
    help="Measure the test images at the end.  [default: unless images are held out]",
)
@click.option("--max-minutes", type=float, help="Stop with a checkpoint when this time is nearly up.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Go on with the run in the run directory.")
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON, and nothing else.")
def fit(
    name: str,
    recipe: str,
    settings: tuple[str, ...],
    seeds: str,
    run_dir: str | None,
    max_minutes: float | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train NAME on CIFAR-10, or go on with a run.

    A run that was broken off goes on where it was when the same command is given again.
    """
    from cifar_zoo.training.recipes import find_recipe

    started = time.monotonic()
    own = find_recipe(recipe, name).with_settings(settings)  # what is wrong is found out before the backend is loaded
    numbers = _numbers(seeds)
    load_backend(training=True)
    import keras

    from cifar_zoo.training.fit import fit_cifar10

    runs: list[Run] = []
    for seed in numbers:
        left = max_minutes
        if (
            max_minutes is not None and math.isfinite(max_minutes) and max_minutes > 0
        ):  # else it is refused by its value
            left = max_minutes - (time.monotonic() - started) / 60
            if left <= 0:
                click.echo(f"stopped for time before seed {seed}; the same command goes on with it", err=as_json)
                return
        keras.backend.clear_session()
        runs.append(
            fit_cifar10(
                name,
                own if settings else recipe,
                seed=seed,
                run_dir=f"{run_dir}-{seed}" if run_dir and len(numbers) > 1 else run_dir,
                max_minutes=left,
                verbose=0 if as_json else "auto",
                **options,
            )
        )
        _tell(runs[-1], as_json)
        if not runs[-1].finished:
            return
    if len(runs) > 1 and not as_json and (which := _measured(runs[0])):
        accuracies = [run.metrics[f"{which}_accuracy"] for run in runs]
        mean, deviation = statistics.mean(accuracies), statistics.stdev(accuracies)
        click.echo(f"{NAMES[which]} accuracy of {len(runs)} seeds: {mean:.2%}, deviation {deviation:.2%}")


def _numbers(seeds: str) -> list[int]:
    try:
        numbers = [int(number) for number in seeds.split(",")]
    except ValueError:
        raise click.BadParameter(f"seeds must be integers with commas between them, not {seeds!r}") from None
    if len(set(numbers)) < len(numbers):
        raise click.BadParameter(f"seeds must differ, not {seeds!r}")
    return numbers


def _measured(run: Run) -> str | None:
    """The images by which a run is judged: those of the test, else those that were held out; None without either."""
    return next((which for which in NAMES if f"{which}_accuracy" in run.metrics), None)


def _tell(run: Run, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"run_dir": str(run.directory), "finished": run.finished, **run.metrics}))
    elif not run.finished:
        done = len(run.history)
        click.echo(f"stopped for time after {done} whole epochs; the same command goes on with {run.directory}")
    elif which := _measured(run):
        accuracy, images = run.metrics[f"{which}_accuracy"], run.metrics[f"{which}_images"]
        click.echo(f"{NAMES[which]} accuracy {accuracy:.2%} on {images} images; the run is in {run.directory}")
    else:
        click.echo(f"trained for {run.metrics['epochs']} epochs; the run is in {run.directory}")
