"""`cifar-zoo download`: download published weights."""

from __future__ import annotations

from pathlib import Path

import click

from cifar_zoo.cli.network import network_argument
from cifar_zoo.cli.output import print_json
from cifar_zoo.errors import CifarZooError, escaped


@click.command(short_help="Download weights to the cache, for use offline.")
@network_argument("names", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Download the weights of all networks.")
@click.option("--tag", default="cifar10", show_default=True, help="Tag of the weights; cifar10 means the best.")
@click.option("--from", "folder", type=click.Path(path_type=Path), help="Copy from this folder, such as a checkout.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def download(names: tuple[str, ...], everything: bool, tag: str, folder: Path | None, as_json: bool) -> None:
    """Download the weights of NAMES to the cache, unless they are present, and show their paths.

    With --from, they are copied from a folder instead: weights/ of a checkout of cifar_zoo, or any folder with files
    of the same names. Their hashes are verified.

    The cache is in CIFAR_ZOO_HOME, by default ~/.cache/cifar_zoo. HF_ENDPOINT sets the URL of a mirror of the hub.
    """
    from cifar_zoo.registry import model_info
    from cifar_zoo.weights.hub import copy_to_cache, find_in
    from cifar_zoo.weights.manifest import read_manifest
    from cifar_zoo.weights.store import available, find_entry, locate

    if bool(names) == everything:
        raise click.UsageError("name the networks, or give --all")
    if everything:
        manifest = read_manifest()
        having = {name: find_entry(name, tag) for name, tags in manifest.items() if tag in {"cifar10", *tags}}
        if not having:
            known = sorted({"cifar10"}.union(*manifest.values()))
            raise CifarZooError(f"no weights have the tag {tag!r}; there are {', '.join(known)}")
        is_there = available if folder is None else lambda entry: find_in(folder, entry) is not None
        entries = {name: entry for name, entry in having.items() if is_there(entry)}
        if not entries:
            where = "this machine and the hub have" if folder is None else f"{str(folder)!r:.300} has"
            raise CifarZooError(f"{where} no weights {tag!r}; `--from FOLDER` copies them from weights/ of a checkout")
    else:
        entries = {name: find_entry(model_info(name).name, tag) for name in names}
    rows = []
    for name, entry in entries.items():
        path = locate(entry) if folder is None else copy_to_cache(entry, folder)
        rows.append({"name": name, "path": str(path), "bytes": entry.bytes, "sha256": entry.sha256})
        if not as_json:
            click.echo(f"{name}: {escaped(path)} ({entry.bytes:,} bytes)")
    if as_json:
        print_json(rows)
