"""`cifar-zoo publish`: upload staged weights to the hub."""

from __future__ import annotations

from pathlib import Path

import click

from cifar_zoo.errors import escaped


@click.command(short_help="Upload staged weights to the hub.")
@click.option(
    "--repo-id", required=True, metavar="ORG/NAME", help="Repository on the hub; it is created if it does not exist."
)
@click.option("--dry-run", is_flag=True, help="Check and list the files without uploading them.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    default="weights",
    show_default=True,
    help="Folder of the staged weights.",
)
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    default="weights_manifest.json",
    show_default=True,
    help="Manifest in which the new commit is recorded.",
)
@click.option("--token", help="Token with write access.  [default: HF_TOKEN, or that of `hf auth login`]")
@click.option("--private", is_flag=True, help="Make the repository private.")
def publish(repo_id: str, dry_run: bool, weights: Path, manifest: Path, token: str | None, private: bool) -> None:
    """Upload the staged weights, model cards and results in one commit, and record it in the manifest.

    After an interruption, run it again: only missing files are uploaded.
    """
    from cifar_zoo.publishing.publish import publish as upload

    done = upload(repo_id, weights, manifest, token=token, private=private, dry_run=dry_run)
    size = f"{len(done.files)} files, {sum(done.files.values()):,} bytes"
    if dry_run:
        for path, count in done.files.items():
            click.echo(f"{count:>12,}  {escaped(path)}")
        click.echo(f"{repo_id} would have {size}; nothing was uploaded")
        return
    click.echo(f"{repo_id} at {done.revision}: {size}, of which {len(done.changed)} files are new or changed")
    click.echo(f"{escaped(manifest)}: commit recorded")
