"""From a finished run to a published weights file: the file, its golden logits, its card and its entry."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from cifar_zoo.errors import CifarZooError
from cifar_zoo.files import read_json
from cifar_zoo.registry import create_model, model_info
from cifar_zoo.weights.files import load_weights
from cifar_zoo.weights.manifest import Entry, parse_manifest, write_manifest

LICENCE = "MIT"


def golden_pictures(height: int, width: int) -> np.ndarray:
    """Four fixed pictures (4, height, width, 3), uint8: a gradient, stripes, a disc and noise."""
    row, column = np.mgrid[0:height, 0:width].astype("float64")
    gradient = np.stack([255 * row / (height - 1), 255 * column / (width - 1), 0 * row + 128], axis=-1)
    stripes = np.repeat((255 * ((row + column) % 6 < 3))[..., None], 3, axis=-1) * np.array([1.0, 0.6, 0.2])
    inside = (row - height / 2) ** 2 + (column - width / 2) ** 2 < (height / 3) ** 2
    disc = np.where(inside[..., None], [200.0, 60.0, 40.0], [90.0, 150.0, 230.0])
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    return np.stack([gradient, stripes, disc, noise]).round().astype("uint8")


def logits(registered: str, weights: str, pictures: np.ndarray) -> np.ndarray:
    """The class scores of a network before the softmax, float32 (n, classes)."""
    model = create_model(registered, weights=weights, classifier_activation=None)
    return np.asarray(keras.ops.convert_to_numpy(model(pictures, training=False)))


def stage(
    run_dir: str | Path, weights_dir: str | Path, manifest_file: str | Path, tag: str, *, best: bool | None = None
) -> Entry:
    """Copy a finished run into the folder of published weights and enter it into the manifest.

    Writes `<weights_dir>/<network>/<tag>/` with the weights, golden.npz (pictures and logits), metrics.json,
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
    run_dir, manifest_file = Path(run_dir), Path(manifest_file)
    if not (run_dir / "metrics.json").exists():
        raise CifarZooError(f"{run_dir}: no metrics.json; only a finished run can be published")
    config, metrics = (read_json(run_dir / f"{name}.json") for name in ("config", "metrics"))
    if metrics["test_pictures"] != 10_000:
        raise CifarZooError(f"{run_dir}: measured on {metrics['test_pictures']} test pictures in place of all 10,000")
    info = model_info(config["model"])
    path = run_dir / "model.weights.h5"
    load_weights(info.build(), path)  # it fits

    folder = Path(weights_dir) / info.name / tag
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{info.name}.{tag}.weights.h5"
    shutil.copyfile(path, file)
    for name in ("config.json", "history.csv", "metrics.json"):
        shutil.copyfile(run_dir / name, folder / name)
    pictures = golden_pictures(*info.input_shape[:2])
    np.savez(folder / "golden.npz", pictures=pictures, logits=logits(info.name, str(file), pictures))

    manifest = parse_manifest(manifest_file)
    others = manifest.get(info.name, {})
    best = not others.keys() - {tag} if best is None else best
    entry = Entry(
        best=best,
        file=f"{info.name}/{tag}/{file.name}",
        bytes=file.stat().st_size,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        golden=f"{info.name}/{tag}/golden.npz",
        parameters=metrics["params"],
        classes=10,
        licence=LICENCE,
        recipe=config["recipe"],
        seed=config["seed"],
        epochs=metrics["epochs"],
        precision=config["precision"],
        test_accuracy=metrics["test_accuracy"],
        command=metrics["command"],
        hardware=metrics["hardware"],
        versions=metrics["versions"],
        commit=metrics["commit"],
    )
    if best:
        others = {name: replace(other, best=False) for name, other in others.items()}
    manifest[info.name] = {**others, tag: entry}
    (folder / "README.md").write_text(card(info.name, tag, entry))
    write_manifest(manifest, manifest_file)
    return entry


def card(name: str, tag: str, entry: Entry) -> str:
    """The model card of one weights file, in the hub's format."""
    info = model_info(name)
    recipe = "\n".join(f"| {key} | {value} |" for key, value in entry.recipe.items())
    versions = ", ".join(f"{package} {number}" for package, number in entry.versions.items())
    return f"""---
library_name: keras
license: {entry.licence.lower()}
pipeline_tag: image-classification
datasets: [uoft-cs/cifar10]
model-index:
  - name: {name}
    results:
      - task: {{type: image-classification}}
        dataset: {{name: CIFAR-10, type: uoft-cs/cifar10, split: test}}
        metrics: [{{type: accuracy, value: {entry.test_accuracy}}}]
---

# {name}, {tag}

{info.summary}

- Paper: {info.paper}
- Parameters: {entry.parameters:,}
- Input: pixels 0..255, {" x ".join(map(str, info.input_shape))}; larger pictures are cropped to the middle
- Test accuracy: {entry.test_accuracy:.2%} on the 10,000 test pictures, measured once, after the last of
  {entry.epochs} epochs, on this float16 file, without test-time augmentation
- Trained with `{entry.command}` (seed {entry.seed}, {entry.precision}) on {entry.hardware}; {versions};
  commit `{entry.commit}`

```python
import cifar_zoo

model = cifar_zoo.models.{name}(weights="{tag}")
```

| recipe | |
| --- | --- |
{recipe}

It knows the ten classes of CIFAR-10 and gives one of them to any picture. Its training pictures are 32 x 32 pixels of
the web of 2008, with the biases of that source; do not use it for decisions about people.
"""
