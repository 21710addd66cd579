"""`cifar-zoo info`: what is known about a network."""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(name: str, as_json: bool) -> None:
    """Show the facts about NAME and its weights."""
    from cifar_zoo.registry import model_info
    from cifar_zoo.weights.manifest import read_manifest

    facts = {key: value for key, value in vars(model_info(name)).items() if key != "build"}
    weights = {tag: asdict(entry) for tag, entry in read_manifest().get(name, {}).items()}
    if as_json:
        click.echo(json.dumps({**facts, "weights": weights}, indent=2))
        return
    for key, value in facts.items():
        click.echo(f"{key:12} {f'{value:,}' if isinstance(value, int) else value}")
    for tag, entry in weights.items():
        click.echo(f"{'weights':12} {tag}: {entry['test_accuracy']:.2%} on the test pictures, {entry['bytes']:,} bytes")
        click.echo(f"{'':12} trained with: {entry['command']}")
    if not weights:
        click.echo(f"{'weights':12} none published; `cifar-zoo fit {name}` trains them")
