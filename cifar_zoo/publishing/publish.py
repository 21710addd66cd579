"""Publishing of the folder of staged weights in a repository of the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import LARGEST_TEXT, read_file, read_json
from cifar_zoo.publishing.card import check_card, evaluation, front_page
from cifar_zoo.publishing.stage import LICENSE, check_recipe
from cifar_zoo.publishing.upload import Content, upload
from cifar_zoo.weights.manifest import RUN_FILES, Entry, Manifest, changing, parse_manifest, write_manifest

SECRET = re.compile(rb"hf_[A-Za-z0-9]{30,}|-----BEGIN [A-Z ]*PRIVATE KEY")


@dataclass(frozen=True)
class Publication:
    """The outcome of `publish`.

    Attributes:
        files: Dict from the path of each file in the repository to its size in bytes.
        revision: String. Commit that contains the files, or None for a dry run.
        changed: Tuple of the paths of the files that were uploaded, as they were new or changed.
    """

    files: dict[str, int]
    revision: str | None = None
    changed: tuple[str, ...] = ()


def publish(
    repo_id: str,
    weights_dir: str | Path,
    manifest_file: str | Path,
    *,
    token: str | None = None,
    private: bool = False,
    dry_run: bool = False,
) -> Publication:
    """Upload the folder of staged weights to a repository of the hub, and record the commit in the manifest.

    The commit contains the six files of every entry, a README.md for the repository and `.eval_results/`. Other files
    of the repository are kept. The manifest is changed only after the commit has been verified, so the call can be
    repeated after any interruption.

    Args:
        repo_id: String. "ORG/NAME" of the repository, which is created if it does not exist.
        weights_dir: Path of the folder of staged weights. Hidden files are ignored. Any other file that is not in the
            manifest is refused.
        manifest_file: Path of the manifest.
        token: String. Token with write access. Defaults to HF_TOKEN, or that of `hf auth login`.
        private: Boolean. Whether the repository must be private.
        dry_run: Boolean. Whether to check everything without uploading.

    Returns: A `Publication`.

    Raises:
        CifarZooError: If the folder does not match the manifest, or the hub cannot be reached or refuses the request.
    """
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except ValueError as error:
        raise CifarZooError(f"--repo-id: {error}") from error
    if "/" not in repo_id:
        raise CifarZooError(f"--repo-id must be ORG/NAME, not {repo_id!r}")
    weights_dir, manifest_file = Path(weights_dir), Path(manifest_file)
    files = staged(weights_dir, parse_manifest(manifest_file))
    sizes = {path: content.size for path, content in files.items()}
    if dry_run:
        return Publication(sizes)
    revision, changed = upload(repo_id, files, token=token, private=private)

    # An upload takes a while. Weights that were staged in the meantime are not in the commit.
    with changing(manifest_file):
        manifest = {
            name: {
                tag: entry.model_copy(update={"repository": repo_id, "revision": revision})
                if entry.file in files and files[entry.file].sha256 == entry.sha256
                else entry
                for tag, entry in tags.items()
            }
            for name, tags in parse_manifest(manifest_file).items()
        }
        write_manifest(manifest, manifest_file)
    return Publication(sizes, revision, tuple(changed))


def staged(weights_dir: Path, manifest: Manifest) -> dict[str, Content]:
    """Return all files for the repository by path, after checking them against the manifest.

    Raises:
        CifarZooError: If a file of an entry is missing, belongs to no entry, or differs from its entry.
    """
    if not manifest:
        raise CifarZooError("the manifest is empty; stage a run with `cifar-zoo pack --weights` first")
    entries = [(name, tag, entry) for name, tags in manifest.items() for tag, entry in tags.items()]
    expected = {
        path
        for name, tag, entry in entries
        for path in (entry.file, entry.golden, *(f"{name}/{tag}/{file}" for file in ("README.md", *RUN_FILES)))
    }
    found = _visible_files(weights_dir)
    if missing := sorted(expected - found.keys()):
        raise CifarZooError(f"{weights_dir}: {', '.join(missing)} of the manifest is missing; stage the run again")
    if surplus := sorted(found.keys() - expected):
        raise CifarZooError(
            f"{weights_dir}: {', '.join(surplus)} is in no entry of the manifest; stage it with "
            "`cifar-zoo pack --weights`, or remove it"
        )
    for file in found.values():
        if file.suffix in {".md", ".json", ".csv"} and SECRET.search(read_file(file, LARGEST_TEXT)):
            raise CifarZooError(f"{file}: contains what looks like a token or a private key; remove it")
    made = {"README.md": front_page(manifest, LICENSE)}
    for name, tag, entry in entries:
        _check(weights_dir, name, tag, entry)
        made[f".eval_results/{name}.{tag}.yaml"] = evaluation(name, tag, entry)
    return {path: Content.of(text.encode()) for path, text in made.items()} | {
        path: Content.of(file) for path, file in found.items()
    }


def _visible_files(folder: Path) -> dict[str, Path]:
    """Return the visible files in a folder by relative path. Links are refused, as they may point outside of it."""
    if not folder.is_dir():
        raise CifarZooError(f"there is no folder {str(folder)!r}")
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts):
            continue
        if path.is_symlink():
            raise CifarZooError(f"{path}: is a link; replace it by the file itself")
        if not path.is_dir():
            found[inside.as_posix()] = path
    return found


def _check(weights_dir: Path, name: str, tag: str, entry: Entry) -> None:
    """Raise CifarZooError if the files of an entry do not match it."""
    check_recipe(entry.recipe, f"{name}.{tag}")
    file, folder = weights_dir / entry.file, weights_dir / name / tag
    if difference := entry.difference(file):
        raise CifarZooError(f"{file}: {difference} of the manifest; stage the run again")
    accuracy = read_json(folder / "metrics.json").get("test_accuracy")
    if accuracy != entry.test_accuracy:
        raise CifarZooError(
            f"{folder / 'metrics.json'}: the accuracy {accuracy} is not the {entry.test_accuracy} of the manifest; "
            "stage the run again"
        )
    check_card(folder / "README.md", entry)
    if damaged := entry.damaged(folder):
        raise CifarZooError(f"{folder}: {', '.join(damaged)} differs from the manifest; stage the run again")
