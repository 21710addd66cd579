"""`cifar-zoo finetune`: fine-tune a pretrained network on a folder of images."""

from __future__ import annotations

from typing import Any

import click

from cifar_zoo.checks import minutes
from cifar_zoo.cli.backend import check_exists, load_backend
from cifar_zoo.cli.network import network_argument
from cifar_zoo.cli.output import print_json
from cifar_zoo.errors import escaped


@click.command(short_help="Fine-tune a pretrained network on your own images.")
@network_argument()
@click.argument("folder", type=click.Path())
@click.option("--weights", default="cifar10", show_default=True, help="A tag or the path of a .weights.h5 file.")
@click.option("--recipe", help="Name of a recipe; see `cifar-zoo recipes`.  [default: one for fine-tuning]")
@click.option("--epochs", type=int, help="Number of epochs of the whole network.  [default: that of the recipe]")
@click.option(
    "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Set a field of the recipe; can be repeated."
)
@click.option("--image-size", type=int, help="Side of the network's input in pixels.  [default: that of the network]")
@click.option(
    "--validation-split", default=0.2, show_default=True, help="Fraction of the images of each class to hold out."
)
@click.option("--classifier-epochs", default=5, show_default=True, help="Number of epochs of the classifier alone.")
@click.option("--seed", default=0, show_default=True, help="Seed of the images held out and of the training.")
@click.option("--run-dir", help="Run directory.  [default: runs/NAME-finetune-SEED]")
@click.option("--precision", help="float32 or mixed_bfloat16.  [default: the latter if the hardware supports it]")
@click.option("--max-minutes", type=float, help="Time limit, shortly before which training stops with a checkpoint.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Resume the run in the run directory.")
@click.option("--json", "as_json", is_flag=True, help="Print only the metrics, as JSON.")
def finetune(
    name: str,
    folder: str,
    recipe: str | None,
    epochs: int | None,
    settings: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Fine-tune the pretrained network NAME on the images in FOLDER, which has one subfolder per class.

    The network is written to model.keras in the run directory, and `cifar-zoo predict` takes this file. An interrupted
    run resumes from its last checkpoint when the same command is run again.
    """
    from cifar_zoo.registry import model_info
    from cifar_zoo.training.recipes import find_recipe, finetuning_recipe
    from cifar_zoo.weights.store import check_pretrained

    check_pretrained(model_info(name).name, options["weights"])
    own = finetuning_recipe(name) if recipe is None else find_recipe(recipe, name)
    own = own.with_settings(settings)  # reports errors before the backend is loaded
    if epochs is not None:
        own = own.for_epochs(epochs)
    minutes("max_minutes", options["max_minutes"])
    check_exists(folder)
    load_backend(training=True)
    from cifar_zoo.training.finetune import MODEL
    from cifar_zoo.training.finetune import finetune as train

    run = train(name, folder, own, verbose=0 if as_json else "auto", **options)
    model = run.directory / MODEL
    if as_json:
        facts = {"run_dir": str(run.directory), "model": str(model) if run.finished else None, "finished": run.finished}
        print_json({**facts, **run.metrics}, indent=None)
    elif not run.finished:
        click.echo(f"stopped by --max-minutes; the same command resumes {escaped(run.directory)}")
    else:
        accuracy, images = run.metrics["holdout_accuracy"], run.metrics["holdout_images"]
        click.echo(f"held-out accuracy {accuracy:.2%} on {images} images; the network is in {escaped(model)}")
