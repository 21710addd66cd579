"""`cifar-zoo predict`: classify images."""

from __future__ import annotations

import click

from cifar_zoo.cli.backend import load_network
from cifar_zoo.cli.network import network_argument
from cifar_zoo.cli.output import print_json
from cifar_zoo.errors import escaped


@click.command(short_help="Classify images.")
@network_argument()
@click.argument("images", nargs=-1, required=True, type=click.Path())
@click.option("--weights", default="cifar10", show_default=True, help="A tag or the path of a .weights.h5 file.")
@click.option("--top", default=3, show_default=True, help="Number of classes to print per image.")
@click.option("--explain", help="Folder for PNG files that show where the network saw the class (Grad-CAM).")
@click.option("--time", "timed", is_flag=True, help="Also measure the latency of one image, after a warm-up.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict(
    name: str, images: tuple[str, ...], weights: str, top: int, explain: str | None, timed: bool, as_json: bool
) -> None:
    """Classify IMAGES with the network NAME, or with that of an exported .onnx file or of a .keras file.

    Image files may have any size, mode and format. An .onnx file is run by ONNX Runtime, without Keras.
    """
    load_network(name, weights, *images)
    from cifar_zoo.data.images import read_image, side_for
    from cifar_zoo.evaluation.logits import load
    from cifar_zoo.evaluation.predict import latency
    from cifar_zoo.evaluation.predict import predict as classify

    taken = None
    if timed:
        network = load(name, weights)
        results = classify(network, images, top=top, explain=explain)
        taken = latency(network, read_image(images[0], side_for(network.input_shape[1:])))
    else:
        results = classify(name, images, weights=weights, top=top, explain=explain)
    if as_json:
        print_json(results if taken is None else {"results": results, "latency_ms": taken})
        return
    for result in results:
        guesses = [f"{escaped(guess['class'])} {guess['probability']:.1%}" for guess in result["classes"]]
        named = ", ".join(guesses) or "the scores are not finite"
        click.echo(f"{escaped(result['path'])}: {named}")
    if explain is not None:
        click.echo(f"the explanations are in {explain}")
    if taken is not None:
        click.echo(
            f"one image takes {taken['median']:.2f} ms (median; 95th percentile {taken['p95']:.2f} ms, "
            f"{taken['calls']} calls)"
        )
