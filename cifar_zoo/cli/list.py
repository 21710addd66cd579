"""`cifar-zoo list`: list the networks."""

from __future__ import annotations

import click

from cifar_zoo.cli.network import network_argument
from cifar_zoo.cli.output import print_json, print_table


@click.command("list", short_help="List the networks.")
@network_argument("pattern", default="*")
@click.option("--pretrained", is_flag=True, help="List only networks with pretrained weights that can be loaded.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(pattern: str, pretrained: bool, as_json: bool) -> None:
    """List the networks that match PATTERN.

    PATTERN is a shell pattern such as "resnet*"; by default all networks are listed.
    """
    from cifar_zoo.registry import model_info
    from cifar_zoo.weights.manifest import best, read_manifest

    manifest = read_manifest()
    infos = [model_info(name) for name in matching(pattern, pretrained=pretrained)]
    accuracy = {name: best(tags)[1].test_accuracy for name, tags in manifest.items()}
    if as_json:
        print_json(
            [
                {"name": i.name, "params": i.params, "test_accuracy": accuracy.get(i.name), "summary": i.summary}
                for i in infos
            ]
        )
        return
    width = max((len(info.name) for info in infos), default=0)
    rows = [
        (
            info.name,
            "-" if info.params is None else f"{info.params:,}",
            f"{accuracy[info.name]:.2%}" if info.name in accuracy else "-",
            info.summary,
        )
        for info in infos
    ]
    plain = (f"{name:{width}}  {params:>11}  {shown:>7}  {summary}" for name, params, shown, summary in rows)
    print_table(["network", ">parameters", ">accuracy", "description"], rows, plain)


def matching(pattern: str, pretrained: bool = False) -> list[str]:
    """Return the networks that match a pattern. Raises CifarZooError if it is not the default and none does."""
    from cifar_zoo.errors import CifarZooError
    from cifar_zoo.registry import list_models

    names = list_models(pattern, pretrained=pretrained)
    if not names and pattern != "*":
        kind = "network with pretrained weights" if pretrained else "network"
        raise CifarZooError(f"no {kind} matches {pattern!r}; `cifar-zoo list` shows all networks")
    return names
