"""`cifar-zoo fit`: train a network."""

from __future__ import annotations

import json
from typing import Any

import click

from cifar_zoo.cli.backend import load_backend


@click.command()
@click.argument("name")
@click.option("--recipe", default="zoo", show_default=True, help="Recipe to follow.")
@click.option("--epochs", type=int, help="In place of the recipe's.")
@click.option("--batch-size", type=int, help="In place of the recipe's.")
@click.option(
    "--data", help="CIFAR-10: an .npz file, a folder or the archive.  [default: CIFAR_ZOO_DATA, cache, download]"
)
@click.option("--examples", type=int, help="Train on the first so many pictures only.")
@click.option("--seed", default=0, show_default=True, help="Of weights, order and augmentation.")
@click.option("--run-dir", type=click.Path(), help="Where the run is kept.  [default: runs/NAME-RECIPE-SEED]")
@click.option("--precision", help="float32 or mixed_bfloat16.  [default: what the hardware has]")
@click.option(
    "--holdout", default=0, show_default=True, help="Pictures kept out of the training and measured every epoch."
)
@click.option("--max-minutes", type=float, help="Stop with a checkpoint when this time is nearly up.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Go on with the run in the run directory.")
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON, and nothing else.")
def fit(name: str, as_json: bool, **options: Any) -> None:
    """Train NAME on CIFAR-10, or go on with a run.

    A run that was broken off goes on where it was when the same command is given again.
    """
    from cifar_zoo.registry import model_info

    model_info(name)  # a wrong name is found out before the backend is loaded
    load_backend(training=True)
    from cifar_zoo.training.fit import fit_cifar10

    run = fit_cifar10(name, verbose=0 if as_json else "auto", **options)
    if as_json:
        click.echo(json.dumps({"run_dir": str(run.directory), "finished": run.finished, **run.metrics}))
    elif run.finished:
        accuracy, pictures = run.metrics["test_accuracy"], run.metrics["test_pictures"]
        click.echo(f"test accuracy {accuracy:.2%} on {pictures} pictures; the run is in {run.directory}")
    else:
        done = len(run.history)
        click.echo(f"stopped for time after {done} whole epochs; the same command goes on with {run.directory}")
