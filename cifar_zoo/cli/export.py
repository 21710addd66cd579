"""`cifar-zoo export`: write a network in the format of another runtime."""

from __future__ import annotations

from pathlib import Path

import click

from cifar_zoo.cli.backend import load_network
from cifar_zoo.cli.network import network_argument
from cifar_zoo.cli.output import print_json
from cifar_zoo.errors import escaped


@click.command(short_help="Write a network in the format of another runtime.")
@network_argument()
@click.option(
    "--format",
    "format_",
    type=click.Choice(["onnx", "saved_model", "litert", "openvino"]),
    default="onnx",
    show_default=True,
    help="The format.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file.  [default: NAME and the suffix]")
@click.option("--weights", default="cifar10", show_default=True, help="A tag or the path of a .weights.h5 file.")
@click.option("--int8", is_flag=True, help="Compute in 8-bit integers; ONNX only. Takes CIFAR-10 to find the scales.")
@click.option("--logits", is_flag=True, help="Give logits instead of probabilities.")
@click.option("--features", is_flag=True, help="Give the feature maps of all stages instead of probabilities.")
@click.option("--float-input", is_flag=True, help="Take pixels 0..255 as float32 instead of uint8.")
@click.option("--data", help="For --int8: path of CIFAR-10.  [default: CIFAR_ZOO_DATA, cache, download]")
@click.option("--force", is_flag=True, help="Write an int8 file although it is more than 0.5 points less accurate.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export(
    name: str,
    format_: str,
    output: Path | None,
    weights: str,
    int8: bool,
    logits: bool,
    features: bool,
    float_input: bool,
    data: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the network NAME in the format of another runtime.

    The file takes pixels 0..255, preprocessing included, in batches of any size. It is run in its own runtime and
    compared with the network before it is handed over.
    """
    load_network(name, weights)
    stem = name.partition("@")[0].rpartition("/")[2]  # of an address hf://ORG/NAME@REVISION, too
    from cifar_zoo.exporting.export import FORMATS
    from cifar_zoo.exporting.export import export as write

    suffix = FORMATS[format_].suffix or "_saved_model"
    written = write(
        name,
        output or Path(f"{stem}.int8{suffix}" if int8 else f"{stem}{suffix}"),
        format_,
        weights=weights,
        int8=int8,
        features=features,
        logits=logits,
        input_dtype="float32" if float_input else "uint8",
        data=data,
        force=force,
    )
    if as_json:
        print_json(written)
        return
    measured = (
        f"accuracy {written['accuracy']:.2%} in float32, {written['int8_accuracy']:.2%} in int8"
        if int8
        else f"differs from Keras by {written['largest_difference']:.1e} of the largest output"
    )
    click.echo(f"{escaped(written['path'])}: {written['bytes'] / 1e6:.1f} MB, {measured}")
