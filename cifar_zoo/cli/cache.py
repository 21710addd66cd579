"""`cifar-zoo cache`: list or remove downloaded weights."""

from __future__ import annotations

import click

from cifar_zoo.cli.network import network_argument
from cifar_zoo.cli.output import print_json, print_table
from cifar_zoo.errors import escaped


@click.command(short_help="List, verify or remove downloaded weights.")
@network_argument("names", nargs=-1)
@click.option("--clear", is_flag=True, help="Remove the files.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cache(names: tuple[str, ...], clear: bool, as_json: bool) -> None:
    """Show the size of the downloaded weights of NAMES and verify their hashes.

    All downloaded weights are shown by default.
    """
    from cifar_zoo.registry import model_info
    from cifar_zoo.weights.hub import cache_folder, cached_files, clear_cache

    for name in names:
        model_info(name)
    files = clear_cache(names) if clear else cached_files(names)
    if as_json:
        print_json(
            [
                {
                    "path": str(file.path),
                    "bytes": file.bytes,
                    "problem": file.problem or None,
                    "address": file.address or None,
                }
                for file in files
            ]
        )
        return
    rows, lines = [], []
    for file in files:
        state = "removed" if clear else file.problem or "ok"
        address = escaped(file.address)
        rows.append((f"{file.bytes:,}", address or escaped(file.path.name), state))
        lines.append(f"{file.bytes:12,}  {escaped(file.path)}  {state}  {address}".rstrip())
    print_table([">bytes", "file", "state"], rows, lines)
    total = sum(file.bytes for file in files)
    click.echo(
        f"{total:12,}  bytes in {len(files)} files {'removed from' if clear else 'of'} {escaped(cache_folder())}"
    )
