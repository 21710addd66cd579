"""`cifar-zoo info`: describe a network."""

from __future__ import annotations

from dataclasses import asdict

import click

from cifar_zoo.cli.backend import load_backend
from cifar_zoo.cli.output import print_json


@click.command()
@click.argument("name")
@click.option("--brief", is_flag=True, help="Omit the layers and their costs, which need the backend.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(name: str, brief: bool, as_json: bool) -> None:
    """Describe the network NAME, its weights and its layers."""
    from cifar_zoo.registry import TENSORSANDBOX, model_info
    from cifar_zoo.weights.manifest import read_manifest

    info = model_info(name)
    facts = {key: value for key, value in vars(info).items() if key != "build"}
    facts["rows"] = [asdict(row) for row in info.rows]
    weights = {tag: entry.model_dump() for tag, entry in read_manifest().get(name, {}).items()}
    table = []
    if not brief:
        load_backend()
        from cifar_zoo.evaluation.costs import abstract_model, layer_table, sandbox_flops

        model = abstract_model(name)
        table = layer_table(model)
        facts["multiply_adds"] = sum(row.multiply_adds for row in table)
        facts["activation_bytes"] = 4 * sum(row.activations for row in table)
        if info.family == "sandbox":
            facts["tensorsandbox_flops"] = sandbox_flops(model)
    if as_json:
        layers = {"layers": [asdict(row) for row in table]} if table else {}
        print_json({**facts, "weights": weights, **layers})
        return

    def line(key: str, text: object) -> None:
        click.echo(f"{key:16} {text}")

    if table:
        width = max(len(row.name) for row in table)
        click.echo(f"{'layer':{width}} {'kind':26} {'output':>14} {'parameters':>12} {'multiply-adds':>14}")
        for row in table:
            shape = "x".join(map(str, row.output_shape))
            click.echo(f"{row.name:{width}} {row.kind:26} {shape:>14} {row.params:12,} {row.multiply_adds:14,}")
        click.echo()
    for key in ("name", "family", "summary", "paper"):
        line(key, facts[key])
    for published in info.rows:
        accuracy = f", {published.accuracy} %" if published.accuracy else ""
        line("published row", f"{published.name}{accuracy} ({published.table})")
    if info.params is not None:
        line("parameters", f"{info.params:,}, of which {info.trainable:,} trainable")
    line("input", "x".join(map(str, info.input_shape)))
    if table:
        line("multiply-adds", f"{facts['multiply_adds']:,} for an image")
        line("activations", f"{facts['activation_bytes']:,} bytes for an image, all layers in float32")
    if "tensorsandbox_flops" in facts:
        line("operations", f"{facts['tensorsandbox_flops']:,} for an image by the formula of {TENSORSANDBOX}")
    for tag, entry in weights.items():
        line("weights", f"{tag}: {entry['test_accuracy']:.2%} on the test images, {entry['bytes']:,} bytes")
        line("", f"trained with: {entry['command']}")
    if not weights:
        line("weights", f"none published; `cifar-zoo fit {name}` trains them")
