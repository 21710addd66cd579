"""`cifar-zoo publish`: bring staged weights to the hub."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--repo-id", required=True, metavar="ORG/NAME", help="The repository; it is made if there is none.")
@click.option("--dry-run", is_flag=True, help="Check everything and show what would be there; send nothing.")
@click.option("--weights", type=click.Path(path_type=Path), default="weights", show_default=True, help="The folder.")
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    default="weights_manifest.json",
    show_default=True,
    help="Where the new commit is noted.",
)
@click.option("--token", help="A token that may write.  [default: HF_TOKEN, or that of `hf auth login`]")
@click.option("--private", is_flag=True, help="Make the repository private.")
def publish(repo_id: str, dry_run: bool, weights: Path, manifest: Path, token: str | None, private: bool) -> None:
    """Upload the staged weights, with cards and results, in one commit, and note it in the manifest.

    Run it again after an interruption: only what is missing is sent.
    """
    from cifar_zoo.publishing.publish import publish as upload

    done = upload(repo_id, weights, manifest, token=token, private=private, dry_run=dry_run)
    size = f"{len(done.files)} files, {sum(done.files.values()):,} bytes"
    if dry_run:
        for path, count in done.files.items():
            click.echo(f"{count:>12,}  {path}")
        click.echo(f"{size} in all would be in {repo_id}; nothing was sent")
        return
    click.echo(f"{repo_id} at {done.revision}: {size}, {len(done.changed)} of the files new or changed")
    click.echo(f"{manifest}: names this commit")
