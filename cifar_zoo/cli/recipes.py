"""`cifar-zoo recipes`: show the training recipes."""

from __future__ import annotations

import click

from cifar_zoo.cli.network import network_argument
from cifar_zoo.cli.output import print_json, print_table


@click.command(short_help="Show how a network is trained.")
@network_argument(required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def recipes(name: str | None, as_json: bool) -> None:
    """Show all fields of the recipes for the network NAME, or list the recipes of all networks."""
    from cifar_zoo.registry import list_models
    from cifar_zoo.training.recipes import recipes_for

    found = {network: recipes_for(network) for network in ([name] if name else list_models())}
    if as_json:
        fields = {
            network: {tag: recipe.to_dict() for tag, recipe in recipes.items()} for network, recipes in found.items()
        }
        print_json(fields[name] if name else fields)
    elif name:
        values = {tag: recipe.to_dict() for tag, recipe in found[name].items()}
        rows = [(field, *(_text(recipe[field]) for recipe in values.values())) for field in next(iter(values.values()))]
        plain = ("".join(f"{cell:24}" for cell in row).rstrip() for row in [("", *values), *rows])
        print_table(["field", *values], rows, plain)
    else:
        short = [
            (network, ", ".join(f"{tag} ({recipe.epochs} epochs)" for tag, recipe in recipes.items()))
            for network, recipes in found.items()
        ]
        print_table(["network", "recipes"], short, (f"{network:28}{text}" for network, text in short))


def _text(value: object) -> str:
    """Return a value in the format of `--set`."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value).lower()
