"""`cifar-zoo fit`: train a network."""

from __future__ import annotations

import logging
import math
import statistics
import time
from typing import TYPE_CHECKING, Any

import click

from cifar_zoo.checks import minutes
from cifar_zoo.cli.backend import check_exists, load_backend
from cifar_zoo.cli.network import network_argument
from cifar_zoo.cli.output import print_json
from cifar_zoo.errors import escaped, shown

if TYPE_CHECKING:
    from cifar_zoo.training.fit import Run

NAMES = {"test": "test", "holdout": "held-out"}  # the evaluated images, in order of preference


@click.command(short_help="Train a network on CIFAR-10, or resume a run.")
@network_argument()
@click.option("--recipe", default="zoo", show_default=True, help="Name of the recipe; see `cifar-zoo recipes`.")
@click.option("--epochs", type=int, help="Number of epochs; stretches the schedule of the recipe.")
@click.option("--batch-size", type=int, help="Images per step, if not that of the recipe.")
@click.option(
    "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Set a field of the recipe; can be repeated."
)
@click.option(
    "--data", help="CIFAR-10 as an .npz file, a folder or the archive.  [default: CIFAR_ZOO_DATA, cache, download]"
)
@click.option("--examples", type=int, help="Number of training images to use.  [default: all]")
@click.option(
    "--seeds",
    "--seed",
    default="0",
    show_default=True,
    metavar="N[,N...]",
    help="Seeds of the initial weights, shuffling and augmentation; one run per seed.",
)
@click.option(
    "--run-dir",
    help="Run directory; with several seeds, -SEED is appended.  [default: runs/NAME-RECIPE-SEED]",
)
@click.option("--precision", help="float32 or mixed_bfloat16.  [default: the latter if the hardware supports it]")
@click.option(
    "--holdout", default=0, show_default=True, help="Number of training images to hold out and evaluate every epoch."
)
@click.option(
    "--evaluate-test/--no-evaluate-test",
    default=None,
    help="Evaluate the test images at the end.  [default: yes, unless images are held out]",
)
@click.option("--max-minutes", type=float, help="Time limit, shortly before which training stops with a checkpoint.")
@click.option(
    "--data-parallel", is_flag=True, help="Let all devices of this machine share each batch (JAX backend only)."
)
@click.option(
    "--distributed",
    is_flag=True,
    help="Let the devices of several processes share each batch (JAX backend only). The processes are those started by "
    "SLURM, Open MPI or Kubernetes, or those of the next three options.",
)
@click.option("--coordinator", metavar="HOST:PORT", help="Address of process 0, with a free port.")
@click.option("--processes", type=int, help="Number of processes.")
@click.option("--process-id", type=int, help="Number of this process, from 0.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Resume the run in the run directory.")
@click.option("--json", "as_json", is_flag=True, help="Print only the metrics, as JSON.")
def fit(
    name: str,
    recipe: str,
    settings: tuple[str, ...],
    seeds: str,
    run_dir: str | None,
    max_minutes: float | None,
    data_parallel: bool,
    distributed: bool,
    coordinator: str | None,
    processes: int | None,
    process_id: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train the network NAME on CIFAR-10, or resume a run.

    An interrupted run resumes from its last checkpoint when the same command is run again.
    """
    from cifar_zoo.backend.processes import (
        join_processes,
        of_process_0,
        process_count,
        process_index,
        process_of_several,
    )
    from cifar_zoo.training.recipes import find_recipe

    started = time.monotonic()
    own = find_recipe(recipe, name).with_settings(settings)  # reports errors before the backend is loaded
    own.with_(**{field: options[field] for field in ("epochs", "batch_size") if options[field] is not None})
    numbers, limit = _numbers(seeds), minutes("max_minutes", max_minutes)
    check_exists(options["data"])
    given = (coordinator, processes, process_id)
    distributed = process_of_several(*given) or distributed
    load_backend(training=True, before=(lambda: join_processes(*given)) if distributed else None)

    from cifar_zoo.backend.distribution import clear_session, distribute_data
    from cifar_zoo.training.fit import fit_cifar10

    first = process_index() == 0
    if not first:
        logging.getLogger("cifar_zoo").setLevel(logging.ERROR)

    def tell(text: str) -> None:
        if first:
            click.echo(text, err=as_json)

    if data_parallel or distributed:
        devices = distribute_data()
        of = f" of {process_count()} processes" if distributed else ""
        tell(f"{devices} devices{of} share each batch")
    runs: list[Run] = []
    for seed in numbers:
        left = of_process_0(limit - (time.monotonic() - started) / 60)
        if left <= 0:
            tell(f"stopped by --max-minutes before seed {seed}; the same command resumes with it")
            return
        clear_session()
        runs.append(
            fit_cifar10(
                name,
                own if settings else recipe,
                seed=seed,
                run_dir=f"{run_dir}-{seed}" if run_dir and len(numbers) > 1 else run_dir,
                max_minutes=None if math.isinf(left) else left,
                verbose=0 if as_json else "auto",
                **options,
            )
        )
        if first:
            _tell(runs[-1], as_json)
        if not runs[-1].finished:
            return
    if len(runs) > 1 and not as_json and (which := _measured(runs[0])):
        accuracies = [run.metrics[f"{which}_accuracy"] for run in runs]
        mean, deviation = statistics.mean(accuracies), statistics.stdev(accuracies)
        tell(f"{NAMES[which]} accuracy of {len(runs)} seeds: {mean:.2%}, deviation {deviation:.2%}")


def _numbers(seeds: str) -> list[int]:
    try:
        numbers = [int(number) for number in seeds.split(",")]
    except ValueError:
        raise click.BadParameter(f"seeds must be integers with commas between them, not {shown(seeds)}") from None
    if len(set(numbers)) < len(numbers):
        raise click.BadParameter(f"seeds must differ, not {shown(seeds)}")
    return numbers


def _measured(run: Run) -> str | None:
    """Return "test" or "holdout", the images that a run was evaluated on, or None. The test images come first."""
    return next((which for which in NAMES if f"{which}_accuracy" in run.metrics), None)


def _tell(run: Run, as_json: bool) -> None:
    if as_json:
        print_json({"run_dir": str(run.directory), "finished": run.finished, **run.metrics}, indent=None)
        return
    directory = escaped(run.directory)
    if not run.finished:
        done = len(run.history)
        click.echo(f"stopped by --max-minutes after {done} complete epochs; the same command resumes {directory}")
    elif which := _measured(run):
        accuracy, images = run.metrics[f"{which}_accuracy"], run.metrics[f"{which}_images"]
        click.echo(f"{NAMES[which]} accuracy {accuracy:.2%} on {images} images; the run is in {directory}")
    else:
        click.echo(f"trained for {run.metrics['epochs']} epochs; the run is in {directory}")
