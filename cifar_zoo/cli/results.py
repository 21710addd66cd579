"""`cifar-zoo results`: our accuracies beside the published ones."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from cifar_zoo.cli.network import network_argument
from cifar_zoo.cli.output import print_json, print_table


@click.command(short_help="Show our accuracies beside the published ones.")
@network_argument("pattern", default="*")
@click.option("--folder", type=click.Path(path_type=Path), help="Folder of run records.  [default: the package's]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def results(pattern: str, folder: Path | None, as_json: bool) -> None:
    """Show our test accuracy beside the published one for the networks that match PATTERN.

    PATTERN is a shell pattern such as "resnet*"; by default all networks are shown.
    """
    from cifar_zoo.cli.list import matching
    from cifar_zoo.errors import CifarZooError
    from cifar_zoo.results import as_text, read_records, results_path, table

    names = matching(pattern)
    if folder is not None and not folder.is_dir():
        raise CifarZooError(f"{folder} is not a folder")
    lines = table(read_records(folder or results_path()).values(), names)
    if as_json:
        print_json([asdict(line) for line in lines])
        return
    rows = []
    for line in lines:
        published = f"{line.published:.2f}" if line.published else "-"
        ours = line.ours.replace(" ", "\n", 1) or "-"  # the deviation below the mean
        run = (line.tag or "", f"{line.runs} x {line.epochs}", f"{line.minutes:.0f}") if line.runs else ()
        rows.append((line.network, line.row or "-", published, ours, *run))
    headings = ["network", "row", ">published", "ours", "tag", ">runs x\nepochs", ">min"]
    print_table(headings, rows, as_text(lines).splitlines())
