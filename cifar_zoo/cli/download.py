"""`cifar-zoo download`: download published weights."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("names", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Download the weights of all networks.")
@click.option("--tag", default="cifar10", show_default=True, help="Tag of the weights; cifar10 means the best.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def download(names: tuple[str, ...], everything: bool, tag: str, as_json: bool) -> None:
    """Download the weights of NAMES to the cache, unless they are present, and show their paths.

    The cache is in CIFAR_ZOO_HOME, by default ~/.cache/cifar_zoo. HF_ENDPOINT sets the URL of a mirror of the hub.
    """
    from cifar_zoo.registry import model_info
    from cifar_zoo.weights.manifest import read_manifest
    from cifar_zoo.weights.store import available, find_entry, locate

    if bool(names) == everything:
        raise click.UsageError("name the networks, or give --all")
    if everything:
        having = [name for name, tags in read_manifest().items() if tag in {"cifar10", *tags}]
        entries = {name: entry for name in having if available(entry := find_entry(name, tag))}
    else:
        entries = {name: find_entry(model_info(name).name, tag) for name in names}
    rows = []
    for name, entry in entries.items():
        path = locate(entry)
        rows.append({"name": name, "path": str(path), "bytes": entry.bytes, "sha256": entry.sha256})
        if not as_json:
            click.echo(f"{name}: {path} ({entry.bytes:,} bytes)")
    if as_json:
        click.echo(json.dumps(rows, indent=2))
