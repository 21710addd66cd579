"""Staging of a finished run for publishing: weights file, golden logits, model card and manifest entry."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from cifar_zoo.checks import validated
from cifar_zoo.data.images import golden_images
from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import replace_together, to_json
from cifar_zoo.lazy import keras
from cifar_zoo.publishing.card import card
from cifar_zoo.registry import create_model, model_info
from cifar_zoo.results import RunRecord, check_group, lock_results, record_file, record_of
from cifar_zoo.training.finished import read_metrics
from cifar_zoo.training.recipe import Recipe
from cifar_zoo.weights.manifest import (
    RUN_FILES,
    Entry,
    Manifest,
    changing,
    journal_of,
    manifest_json,
    parse_manifest,
)

LICENSE = "MIT"
FROM_RECORD = (
    "recipe",
    "seed",
    "precision",
    "params",
    "epochs",
    "test_accuracy",
    "command",
    "hardware",
    "versions",
    "commit",
)

_log = logging.getLogger(__name__)


def logits(registered: str, weights: str, images: np.ndarray) -> np.ndarray:
    """Return the float32 logits (n, classes) of a network for images (n, height, width, channels)."""
    model = create_model(registered, weights=weights, classifier_activation=None)
    return np.asarray(keras.ops.convert_to_numpy(model(images, training=False)))


def stage(
    run_dir: str | Path,
    weights_dir: str | Path,
    manifest_file: str | Path,
    tag: str,
    *,
    best: bool | None = None,
    results_dir: str | Path | None = None,
) -> Entry:
    """Copy a finished run to the folder of published weights and add it to the manifest.

    Writes `<weights_dir>/<network>/<tag>/` with the weights, golden.npz (images and logits), metrics.json,
    config.json, history.csv and README.md. If the process is killed, the folder and the manifest are both the old or
    both the new ones for whoever reads the manifest next.

    Args:
        run_dir: Path of the directory of a finished run of a registered network.
        weights_dir: Path of the folder of published weights.
        manifest_file: Path of the manifest to change.
        tag: String. Tag of the weights, which `weights="<tag>"` loads.
        best: Boolean. Whether `weights="cifar10"` loads this file. None for True if the network has no other tag.
        results_dir: Path of the folder of results, to which the record of the run is added at the same time, as by
            `cifar_zoo.results.pack`. None to add none.

    Returns: The new `Entry` of the manifest.

    Raises:
        CifarZooError: If the run is unfinished, was not evaluated on all 10,000 test images, has a recipe that does not
            fit this version, or is of an unregistered network; if a file of the run is damaged or of another run; if
            the tag holds the weights of another seed; or if the manifest is in use by another process.
    """
    from cifar_zoo.weights.files import load_weights  # imports Keras

    run_dir, weights_dir, manifest_file = Path(run_dir), Path(weights_dir), Path(manifest_file)
    record, metrics = record_of(run_dir, tag), read_metrics(run_dir)
    if tag == "cifar10" or tag.endswith(".h5"):
        raise CifarZooError(f"--tag must not be {tag!r}, which stands for the best weights or a file")
    info = model_info(record.model)
    _check_seed(parse_manifest(manifest_file), record, manifest_file)
    if "files" not in metrics:
        _log.warning(
            "%s was written by an earlier version and has no hashes: whether its weights are those that were measured "
            "cannot be verified",
            run_dir / "metrics.json",
        )
    weights = (run_dir / "model.weights.h5").read_bytes()
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "model.weights.h5"
        copy.write_bytes(weights)
        load_weights(info.build(), copy)  # raises if the file does not fit
        images = golden_images(*info.input_shape[:2])
        scores = logits(info.name, str(copy), images)
    golden = io.BytesIO()
    np.savez(golden, images=images, logits=scores)

    folder, file = weights_dir / info.name / tag, f"{info.name}.{tag}.weights.h5"
    others = {name: (run_dir / name).read_bytes() for name in RUN_FILES} | {"golden.npz": golden.getvalue()}
    values = {
        "file": f"{info.name}/{tag}/{file}",
        "repository": None,
        "revision": None,
        "bytes": len(weights),
        "sha256": sha256(weights).hexdigest(),
        "golden": f"{info.name}/{tag}/golden.npz",
        "files": {name: sha256(content).hexdigest() for name, content in sorted(others.items())},
        "classes": 10,
        "license": LICENSE,
        **{name: getattr(record, name) for name in FROM_RECORD},
    }
    if not metrics.get("files", {}).items() <= (values["files"] | {"model.weights.h5": values["sha256"]}).items():
        raise CifarZooError(f"{run_dir}: its files were changed meanwhile; run the command again")
    with contextlib.ExitStack() as stack:
        stack.enter_context(changing(manifest_file))
        manifest = parse_manifest(manifest_file)
        _check_seed(manifest, record, manifest_file)
        tags = manifest.get(info.name, {})
        best = not tags.keys() - {tag} if best is None else best
        entry = validated(Entry, {"best": best, **values}, f"{run_dir}: {info.name}.{tag}")
        if best:
            tags = {name: other.model_copy(update={"best": False}) for name, other in tags.items()}
        manifest[info.name] = {**tags, tag: entry}
        contents = {folder / file: weights} | {folder / name: content for name, content in others.items()}
        contents[folder / "README.md"] = card(info.name, tag, entry, record.test_tta_accuracy).encode()
        if results_dir is not None:
            stack.enter_context(lock_results(Path(results_dir)))
            check_group(record, Path(results_dir), run_dir)
            result = record_file(record, Path(results_dir))
            contents[result] = to_json(asdict(record), result)
        contents[manifest_file] = manifest_json(manifest, manifest_file)
        replace_together(journal_of(manifest_file), contents)
        if problem := entry.difference(folder / file) or ", ".join(entry.damaged(folder)):
            raise CifarZooError(f"{folder}: what is there differs from what was written ({problem}); check the disk")
    return entry


def _check_seed(manifest: Manifest, record: RunRecord, manifest_file: Path) -> None:
    """Raise CifarZooError if a tag holds the weights of another seed, whose figure would remain in the results."""
    entry = manifest.get(record.model, {}).get(record.tag)
    if entry is not None and entry.seed != record.seed:
        raise CifarZooError(
            f"{manifest_file}: {record.model}.{record.tag} is of seed {entry.seed}, not {record.seed}; choose another "
            "tag, or remove that entry and its folder first"
        )


def check_recipe(values: dict[str, Any], where: str) -> None:
    """Raise CifarZooError if a recipe has a field that this version does not know, or an invalid value."""
    try:
        Recipe(**values)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise CifarZooError(f"{where}: recipe does not fit this version ({reason})") from error
