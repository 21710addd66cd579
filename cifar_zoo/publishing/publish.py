"""From a finished run to a published weights file: the file, its golden logits, its card, its entry, and the hub."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import read_json
from cifar_zoo.lazy import keras
from cifar_zoo.publishing.card import card, check_card, evaluation, front_page
from cifar_zoo.publishing.upload import Content, upload
from cifar_zoo.registry import create_model, model_info
from cifar_zoo.weights.manifest import Entry, Manifest, parse_manifest, write_manifest

LICENSE = "MIT"
COPIED = ("config.json", "history.csv", "metrics.json")  # of a run
SECRET = re.compile(rb"hf_[A-Za-z0-9]{30,}|-----BEGIN [A-Z ]*PRIVATE KEY")


def golden_images(height: int, width: int) -> np.ndarray:
    """Four fixed images (4, height, width, 3), uint8: a gradient, stripes, a disc and noise."""
    row, column = np.mgrid[0:height, 0:width].astype("float64")
    gradient = np.stack([255 * row / (height - 1), 255 * column / (width - 1), 0 * row + 128], axis=-1)
    stripes = np.repeat((255 * ((row + column) % 6 < 3))[..., None], 3, axis=-1) * np.array([1.0, 0.6, 0.2])
    inside = (row - height / 2) ** 2 + (column - width / 2) ** 2 < (height / 3) ** 2
    disc = np.where(inside[..., None], [200.0, 60.0, 40.0], [90.0, 150.0, 230.0])
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    return np.stack([gradient, stripes, disc, noise]).round().astype("uint8")


def logits(registered: str, weights: str, images: np.ndarray) -> np.ndarray:
    """The class scores of a network before the softmax, float32 (n, classes)."""
    model = create_model(registered, weights=weights, classifier_activation=None)
    return np.asarray(keras.ops.convert_to_numpy(model(images, training=False)))


def stage(
    run_dir: str | Path, weights_dir: str | Path, manifest_file: str | Path, tag: str, *, best: bool | None = None
) -> Entry:
    """Copy a finished run into the folder of published weights and enter it into the manifest.

    Writes `<weights_dir>/<network>/<tag>/` with the weights, golden.npz (images and logits), metrics.json,
    config.json, history.csv and README.md.

    Args:
        run_dir: directory of a finished run of a registered network.
        weights_dir: the folder of published weights.
        manifest_file: the manifest to change.
        tag: name of this training.
        best: whether `weights="cifar10"` shall mean it; default where the network has no other.

    Raises:
        CifarZooError: if the run is unfinished or of an unregistered network.
    """
    from cifar_zoo.weights.files import load_weights  # brings Keras with it, which the hub has no need of

    run_dir, manifest_file = Path(run_dir), Path(manifest_file)
    if not (run_dir / "metrics.json").exists():
        raise CifarZooError(f"{run_dir}: no metrics.json; only a finished run can be published")
    config, metrics = (read_json(run_dir / f"{name}.json") for name in ("config", "metrics"))
    if metrics["test_images"] != 10_000:
        raise CifarZooError(f"{run_dir}: measured on {metrics['test_images']} test images in place of all 10,000")
    info = model_info(config["model"])
    path = run_dir / "model.weights.h5"
    load_weights(info.build(), path)  # it fits

    folder = Path(weights_dir) / info.name / tag
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{info.name}.{tag}.weights.h5"
    shutil.copyfile(path, file)
    for name in COPIED:
        shutil.copyfile(run_dir / name, folder / name)
    images = golden_images(*info.input_shape[:2])
    np.savez(folder / "golden.npz", images=images, logits=logits(info.name, str(file), images))

    manifest = parse_manifest(manifest_file)
    others = manifest.get(info.name, {})
    best = not others.keys() - {tag} if best is None else best
    entry = Entry(
        best=best,
        file=f"{info.name}/{tag}/{file.name}",
        bytes=file.stat().st_size,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        golden=f"{info.name}/{tag}/golden.npz",
        params=metrics["params"],
        classes=10,
        license=LICENSE,
        recipe=config["recipe"],
        seed=config["seed"],
        epochs=metrics["epochs"],
        precision=config["precision"],
        test_accuracy=metrics["test_accuracy"],
        command=metrics["command"],
        hardware=metrics["hardware"],
        versions=metrics["versions"],
        commit=metrics["commit"],
        repository=None,
        revision=None,
    )
    if best:
        others = {name: replace(other, best=False) for name, other in others.items()}
    manifest[info.name] = {**others, tag: entry}
    (folder / "README.md").write_text(card(info.name, tag, entry, metrics.get("test_tta_accuracy")))
    write_manifest(manifest, manifest_file)
    return entry


@dataclass(frozen=True)
class Publication:
    """What was published, or would be.

    Attributes:
        files: bytes by the path in the repository.
        revision: the commit that holds them; None for a trial.
        changed: the paths that were sent; the others were there already.
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
    """Upload the folder of staged weights to a repository of the hub, and note the commit in the manifest.

    One commit holds the six files of every entry, a README.md of the whole and `.eval_results/`. Files that the
    repository has besides stay. The manifest changes only after the hub's commit has been checked, so that the same
    call can be made again after whatever happened.

    Args:
        repo_id: "ORG/NAME"; made if there is none.
        weights_dir: the folder of staged weights. Hidden files stay out; any other file that no entry names is refused.
        manifest_file: its manifest.
        token: one that may write; default HF_TOKEN, or that of `hf auth login`.
        private: whether the repository must be private.
        dry_run: check everything and send nothing.

    Raises:
        CifarZooError: if folder and manifest disagree, or the hub cannot be reached or refuses.
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

    # An upload takes its time: what was staged meanwhile is not in the commit.
    manifest = {
        name: {
            tag: replace(entry, repository=repo_id, revision=revision)
            if entry.file in files and files[entry.file].sha256 == entry.sha256
            else entry
            for tag, entry in tags.items()
        }
        for name, tags in parse_manifest(manifest_file).items()
    }
    write_manifest(manifest, manifest_file)
    return Publication(sizes, revision, tuple(changed))


def staged(weights_dir: Path, manifest: Manifest) -> dict[str, Content]:
    """All files of the hub's repository by their paths, checked against the manifest.

    Raises:
        CifarZooError: if an entry lacks a file, a file belongs to no entry, or a file differs from its entry.
    """
    if not manifest:
        raise CifarZooError("the manifest is empty; stage a run with `cifar-zoo pack --weights` first")
    entries = [(name, tag, entry) for name, tags in manifest.items() for tag, entry in tags.items()]
    expected = {
        path
        for name, tag, entry in entries
        for path in (entry.file, entry.golden, *(f"{name}/{tag}/{file}" for file in ("README.md", *COPIED)))
    }
    found = _visible_files(weights_dir)
    if missing := sorted(expected - found.keys()):
        raise CifarZooError(f"{weights_dir}: {', '.join(missing)} of the manifest is not there; stage the run again")
    if surplus := sorted(found.keys() - expected):
        raise CifarZooError(
            f"{weights_dir}: {', '.join(surplus)} is in no entry of the manifest; stage it with "
            "`cifar-zoo pack --weights`, or take it away"
        )
    for file in found.values():
        if file.suffix in {".md", ".json", ".csv"} and SECRET.search(file.read_bytes()):
            raise CifarZooError(f"{file}: holds what looks like a token or a private key; take it out")
    made = {"README.md": front_page(manifest, LICENSE)}
    for name, tag, entry in entries:
        _check(weights_dir, name, tag, entry)
        made[f".eval_results/{name}.{tag}.yaml"] = evaluation(name, tag, entry)
    return {path: Content.of(text.encode()) for path, text in made.items()} | {
        path: Content.of(file) for path, file in found.items()
    }


def _visible_files(folder: Path) -> dict[str, Path]:
    """The files below a folder, by their paths in it, but for hidden ones. Links could lead out of it: refused."""
    if not folder.is_dir():
        raise CifarZooError(f"there is no folder {str(folder)!r}")
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts):
            continue
        if path.is_symlink():
            raise CifarZooError(f"{path}: is a link; put the file itself there")
        if not path.is_dir():
            found[inside.as_posix()] = path
    return found


def _check(weights_dir: Path, name: str, tag: str, entry: Entry) -> None:
    """Raise CifarZooError if the files of an entry say something else than the entry."""
    file, folder = weights_dir / entry.file, weights_dir / name / tag
    if difference := entry.difference(file):
        raise CifarZooError(f"{file}: {difference} of the manifest; stage the run again")
    accuracy = read_json(folder / "metrics.json").get("test_accuracy")
    if accuracy != entry.test_accuracy:
        raise CifarZooError(
            f"{folder / 'metrics.json'}: the accuracy {accuracy} is not {entry.test_accuracy} of the manifest; "
            "stage the run again"
        )
    check_card(folder / "README.md", entry)
