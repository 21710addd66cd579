"""`cifar-zoo evaluate`: measure the accuracy of published weights or of a weights file."""

from __future__ import annotations

import click

from cifar_zoo.cli.backend import load_network
from cifar_zoo.cli.output import print_json


@click.command()
@click.argument("name")
@click.option("--weights", default="cifar10", show_default=True, help="A tag or the path of a .weights.h5 file.")
@click.option(
    "--data", help="Path of CIFAR-10: an .npz file, folder or archive.  [default: CIFAR_ZOO_DATA, cache, download]"
)
@click.option("--tta", is_flag=True, help="Also measure with test-time augmentation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(name: str, weights: str, data: str | None, tta: bool, as_json: bool) -> None:
    """Measure the accuracy and loss of the network NAME, or of an exported .onnx file, on the CIFAR-10 test images."""
    load_network(name, weights)
    from cifar_zoo.evaluation.evaluate import evaluate as measure

    metrics = measure(name, data, weights=weights, tta=tta)
    if as_json:
        print_json({"name": name, "weights": weights, **metrics})
        return
    click.echo(
        f"{name}: {metrics['accuracy']:.2%} of {metrics['images']} test images ({metrics['correct']} right), "
        f"loss {metrics['loss']:.4f}"
    )
    if tta:
        click.echo(
            f"with test-time augmentation (flip and shift, six views): {metrics['tta_accuracy']:.2%} "
            f"({metrics['tta_correct']} right), loss {metrics['tta_loss']:.4f}"
        )
