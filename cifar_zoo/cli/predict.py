"""`cifar-zoo predict`: classify images."""

from __future__ import annotations

import click

from cifar_zoo.cli.backend import load_network
from cifar_zoo.cli.output import print_json
from cifar_zoo.errors import escaped


@click.command()
@click.argument("name")
@click.argument("images", nargs=-1, required=True, type=click.Path())
@click.option("--weights", default="cifar10", show_default=True, help="A tag or the path of a .weights.h5 file.")
@click.option("--top", default=3, show_default=True, help="Number of classes to print per image.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict(name: str, images: tuple[str, ...], weights: str, top: int, as_json: bool) -> None:
    """Classify IMAGES with the network NAME, or with that of an exported .onnx file.

    Image files may have any size, mode and format. An .onnx file is run by ONNX Runtime, without Keras.
    """
    load_network(name, weights)
    from cifar_zoo.evaluation.predict import predict as classify

    results = classify(name, images, weights=weights, top=top)
    if as_json:
        print_json(results)
        return
    for result in results:
        guesses = [f"{guess['class']} {guess['probability']:.1%}" for guess in result["classes"]]
        named = ", ".join(guesses) or "the scores are not finite"
        click.echo(f"{escaped(result['path'])}: {named}")
