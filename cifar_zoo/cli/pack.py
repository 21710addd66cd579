"""`cifar-zoo pack`: add a finished run to the results, and stage its weights for publishing."""

from __future__ import annotations

from pathlib import Path

import click

from cifar_zoo.cli.backend import load_backend
from cifar_zoo.errors import escaped


@click.command(short_help="Add a finished run to the results and stage its weights.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--tag", help="Tag that the runs of a recipe share.  [default: name of the recipe]")
@click.option("--into", type=click.Path(path_type=Path), default=".", help="A checkout of cifar_zoo.  [default: here]")
@click.option(
    "--weights", is_flag=True, help="Also stage the weights, with golden logits, model card and manifest entry."
)
@click.option("--best", is_flag=True, help='Make these the weights that weights="cifar10" loads.')
def pack(run_dir: Path, tag: str | None, into: Path, weights: bool, best: bool) -> None:
    """Write the results of the run in RUN_DIR to results/NETWORK/TAG-SEED.json."""
    from cifar_zoo.results import pack as write
    from cifar_zoo.results import record_file, record_of

    if not weights:
        click.echo(escaped(write(run_dir, into / "results", tag, manifest_file=into / "weights_manifest.json")))
        return
    record = record_of(run_dir, tag)  # reports errors before the backend is loaded
    load_backend()
    from cifar_zoo.publishing.stage import stage

    stage(
        run_dir,
        into / "weights",
        into / "weights_manifest.json",
        record.tag,
        best=best or None,
        results_dir=into / "results",
    )
    click.echo(escaped(record_file(record, into / "results")))
    click.echo(escaped(into / "weights" / record.model / record.tag))
