"""`cifar-zoo recipes`: show the training recipes."""

from __future__ import annotations

import click

from cifar_zoo.cli.output import print_json


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def recipes(name: str | None, as_json: bool) -> None:
    """Show all fields of the recipes for the network NAME, or list the recipes of all networks."""
    from cifar_zoo.registry import list_models
    from cifar_zoo.training.recipes import recipes_for

    found = {network: recipes_for(network) for network in ([name] if name else list_models())}
    if as_json:
        plain = {
            network: {tag: recipe.to_dict() for tag, recipe in recipes.items()} for network, recipes in found.items()
        }
        print_json(plain[name] if name else plain)
    elif name:
        values = {tag: recipe.to_dict() for tag, recipe in found[name].items()}
        click.echo("".join([f"{'':24}", *(f"{tag:24}" for tag in values)]).rstrip())
        for field in next(iter(values.values())):
            row = [f"{field:24}", *(f"{_text(recipe[field]):24}" for recipe in values.values())]
            click.echo("".join(row).rstrip())
    else:
        for network, recipes in found.items():
            short = ", ".join(f"{tag} ({recipe.epochs} epochs)" for tag, recipe in recipes.items())
            click.echo(f"{network:28}{short}")


def _text(value: object) -> str:
    """Return a value in the format of `--set`."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value).lower()
