"""`cifar-zoo info`: describe a network."""

from __future__ import annotations

from dataclasses import asdict

import click

from cifar_zoo.cli.backend import load_backend
from cifar_zoo.cli.network import network_argument
from cifar_zoo.cli.output import print_json, print_table


@click.command(short_help="Describe a network, its weights and its layers.")
@network_argument()
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
        costs = {"layers": [asdict(row) for row in table]} if table else {}
        print_json({**facts, "weights": weights, **costs})
        return

    if table:
        layers = [
            (row.name, row.kind, "x".join(map(str, row.output_shape)), f"{row.params:,}", f"{row.multiply_adds:,}")
            for row in table
        ]
        headings = ("layer", "kind", "output", "parameters", "multiply-adds")
        width = max(len(row.name) for row in table)
        plain = (f"{a:{width}} {b:26} {c:>14} {d:>12} {e:>14}" for a, b, c, d, e in [headings, *layers])
        print_table(["layer", "kind", ">output", ">parameters", ">multiply-adds"], layers, plain)
        click.echo()
    lines = [(key, str(facts[key])) for key in ("name", "family", "summary", "paper")]
    for published in info.rows:
        accuracy = f", {published.accuracy} %" if published.accuracy else ""
        lines.append(("published row", f"{published.name}{accuracy} ({published.table})"))
    if info.params is not None:
        lines.append(("parameters", f"{info.params:,}, of which {info.trainable:,} trainable"))
    lines.append(("input", "x".join(map(str, info.input_shape))))
    if table:
        lines.append(("multiply-adds", f"{facts['multiply_adds']:,} for an image"))
        lines.append(("activations", f"{facts['activation_bytes']:,} bytes for an image, all layers in float32"))
    if "tensorsandbox_flops" in facts:
        flops = facts["tensorsandbox_flops"]
        lines.append(("operations", f"{flops:,} for an image by the formula of {TENSORSANDBOX}"))
    for tag, entry in weights.items():
        accuracy, size = entry["test_accuracy"], entry["bytes"]
        lines.append(("weights", f"{tag}: {accuracy:.2%} on the test images, {size:,} bytes"))
        lines.append(("", f"trained with: {entry['command']}"))
    if not weights:
        lines.append(("weights", f"none published; `cifar-zoo fit {name}` trains them"))
    print_table(["", ""], lines, (f"{key:16} {text}" for key, text in lines))
