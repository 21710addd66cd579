"""Staging of a finished run for publishing: weights file, golden logits, model card and manifest entry."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import read_json
from cifar_zoo.lazy import keras
from cifar_zoo.publishing.card import card
from cifar_zoo.registry import create_model, model_info
from cifar_zoo.results import check_measured
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.weights.manifest import Entry, parse_entry, parse_manifest, write_manifest

LICENSE = "MIT"
FROM_CONFIG = ("recipe", "seed", "precision")
FROM_METRICS = ("params", "epochs", "test_accuracy", "command", "hardware", "versions", "commit")
RUN_FILES = ("config.json", "history.csv", "metrics.json")  # copied from a run in addition to its weights


def golden_images(height: int, width: int) -> np.ndarray:
    """Return four fixed uint8 images of shape (4, height, width, 3): a gradient, stripes, a disc and noise."""
    row, column = np.mgrid[0:height, 0:width].astype("float64")
    gradient = np.stack([255 * row / (height - 1), 255 * column / (width - 1), 0 * row + 128], axis=-1)
    stripes = np.repeat((255 * ((row + column) % 6 < 3))[..., None], 3, axis=-1) * np.array([1.0, 0.6, 0.2])
    inside = (row - height / 2) ** 2 + (column - width / 2) ** 2 < (height / 3) ** 2
    disc = np.where(inside[..., None], [200.0, 60.0, 40.0], [90.0, 150.0, 230.0])
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    return np.stack([gradient, stripes, disc, noise]).round().astype("uint8")


def logits(registered: str, weights: str, images: np.ndarray) -> np.ndarray:
    """Return the float32 logits (n, classes) of a network for images (n, height, width, channels)."""
    model = create_model(registered, weights=weights, classifier_activation=None)
    return np.asarray(keras.ops.convert_to_numpy(model(images, training=False)))


def stage(
    run_dir: str | Path, weights_dir: str | Path, manifest_file: str | Path, tag: str, *, best: bool | None = None
) -> Entry:
    """Copy a finished run to the folder of published weights and add it to the manifest.

    Writes `<weights_dir>/<network>/<tag>/` with the weights, golden.npz (images and logits), metrics.json,
    config.json, history.csv and README.md.

    Args:
        run_dir: Path of the directory of a finished run of a registered network.
        weights_dir: Path of the folder of published weights.
        manifest_file: Path of the manifest to change.
        tag: String. Tag of the weights, which `weights="<tag>"` loads.
        best: Boolean. Whether `weights="cifar10"` loads this file. None for True if the network has no other tag.

    Returns: The new `Entry` of the manifest.

    Raises:
        CifarZooError: If the run is unfinished, was not evaluated on all 10,000 test images, has a recipe that does not
            fit this version, or is of an unregistered network.
    """
    from cifar_zoo.weights.files import load_weights  # imports Keras

    run_dir, weights_dir, manifest_file = Path(run_dir), Path(weights_dir), Path(manifest_file)
    if not (run_dir / "metrics.json").exists():
        raise CifarZooError(f"{run_dir}: no metrics.json; only a finished run can be published")
    config, metrics = (read_json(run_dir / f"{name}.json") for name in ("config", "metrics"))
    check_measured(metrics, run_dir)
    check_recipe(config["recipe"], str(run_dir))
    info = model_info(config["model"])
    manifest = parse_manifest(manifest_file)
    others = manifest.get(info.name, {})
    best = not others.keys() - {tag} if best is None else best
    load_weights(info.build(), run_dir / "model.weights.h5")  # raises if the file does not fit

    folder = weights_dir / info.name / tag
    file = folder / f"{info.name}.{tag}.weights.h5"
    _copy_run(run_dir, file)
    images = golden_images(*info.input_shape[:2])
    np.savez(folder / "golden.npz", images=images, logits=logits(info.name, str(file), images))

    content = file.read_bytes()
    measured = {name: metrics[name] for name in FROM_METRICS if name in metrics}
    configured = {name: config[name] for name in FROM_CONFIG if name in config}
    entry = parse_entry(
        {
            "best": best,
            "file": f"{info.name}/{tag}/{file.name}",
            "repository": None,
            "revision": None,
            "bytes": len(content),
            "sha256": sha256(content).hexdigest(),
            "golden": f"{info.name}/{tag}/golden.npz",
            "classes": 10,
            "license": LICENSE,
            **configured,
            **measured,
        },
        f"{run_dir}: {info.name}.{tag}",
    )
    if best:
        others = {name: other.model_copy(update={"best": False}) for name, other in others.items()}
    manifest[info.name] = {**others, tag: entry}
    (folder / "README.md").write_text(card(info.name, tag, entry, metrics.get("test_tta_accuracy")))
    write_manifest(manifest, manifest_file)
    return entry


def _copy_run(run_dir: Path, weights_file: Path) -> None:
    """Copy the files of a run, with the weights renamed to the given file."""
    weights_file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run_dir / "model.weights.h5", weights_file)
    for name in RUN_FILES:
        shutil.copyfile(run_dir / name, weights_file.parent / name)


def check_recipe(values: dict[str, Any], where: str) -> None:
    """Raise CifarZooError if a recipe has a field that this version does not know, or an invalid value."""
    try:
        Recipe(**values)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise CifarZooError(f"{where}: recipe does not fit this version ({reason})") from error
